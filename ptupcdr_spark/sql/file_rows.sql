-- judged, staged, unreadable, gaps, source_files of one file  ->  its rows as Spark takes them: what a row says, what is
-- wrong with it, and the texts that it is shown with where it is left out. The last row counts what was read.
with placed as (
    select
        j.*, s.user_id as written_user, s.item_id as written_item, s.rating as written_value,
        s."timestamp" as written_time, place - first_place + 1 as nth, coalesce(reason = 'forgotten', false) as hidden
    from judged j
    join (select rowid as place, user_id, item_id, rating, "timestamp" from staged) s using (place)
    join source_files using (file_index)
)
select
    p.file_index::integer as file_index, nth, nth + coalesce(unreadable_before, 0) as source_row,
    if(hidden, null, user_id) as user_id, if(hidden, null, item_id) as item_id,
    if(hidden, null, value) as value, if(hidden, null, moment) as moment, is_person, reason,
    if(hidden, null, written_user) as written_user, if(hidden, null, written_item) as written_item,
    if(hidden, null, written_value) as written_value, if(hidden, null, written_time) as written_time,
    null::bigint as rows_read, null::varchar as error
from placed p
asof left join gaps g on p.file_index = g.file_index and p.nth > g.rows_before
union all
select file_index, null, source_row, null, null, null, null, null, fault, null, null, null, null, null, null
from unreadable
union all
select file_index, null, null, null, null, null, null, null, null, null, null, null, null, rows_read, null
from source_files
