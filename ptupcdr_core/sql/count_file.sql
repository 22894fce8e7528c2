insert into source_files
select
    $index, $file,
    count(*) filter (fault is null or fault <> 'blank')
        + (select count(*) from unreadable where file_index = $index),
    coalesce(min(rowid), 0), $ticks
from staged
where file_index = $index
