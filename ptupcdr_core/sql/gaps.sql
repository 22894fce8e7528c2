-- unreadable  ->  gaps: how many unreadable lines come before the rows that were read. A row's number in its file is
-- its place among those read, plus the unreadable lines before it.
create temp table gaps as
select file_index, source_row - ahead as rows_before, max(ahead) as unreadable_before
from (
    select *, row_number() over (partition by file_index order by source_row) as ahead from unreadable
)
group by all;
