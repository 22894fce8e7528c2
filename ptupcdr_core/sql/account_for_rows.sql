-- judged, superseded, staged, unreadable, gaps, source_files  ->  rejected_ratings, ingest_counts.
create table rejected_ratings as
with rejected as (
    select place, reason from judged where reason is not null
    union all
    select place, 'superseded' from superseded
),
numbered as (
    select
        s.file_index, reason,
        -- The row of a forgotten person is counted, but its content is not kept.
        if(reason <> 'forgotten', s.user_id, null) as user_id, if(reason <> 'forgotten', s.item_id, null) as item_id,
        if(reason <> 'forgotten', s.rating, null) as rating, if(reason <> 'forgotten', s."timestamp", null) as "timestamp",
        place - first_place + 1 as nth
    from rejected
    join staged s on s.rowid = place
    join source_files using (file_index)
),
everything as (
    select
        n.file_index, user_id, item_id, rating, "timestamp", reason, nth + coalesce(unreadable_before, 0) as source_row
    from numbered n
    asof left join gaps g on n.file_index = g.file_index and n.nth > g.rows_before
    union all
    select file_index, null, null, null, null, fault, source_row from unreadable
)
select
    getvariable('domain') as domain, user_id, item_id, rating as {value}, "timestamp", reason, source_file, source_row
from everything join source_files using (file_index)
order by file_index, source_row;

create table ingest_counts as
with kept as (
    select file_index, count(*) as amount from judged anti join superseded using (place)
    where reason is null group by all
),
rejected as (
    select source_file, count(*) as amount from rejected_ratings group by all
)
select
    getvariable('domain') as domain, source_file, rows_read,
    coalesce(kept.amount, 0) as kept, coalesce(rejected.amount, 0) as rejected
from source_files
left join kept using (file_index)
left join rejected using (source_file)
order by file_index;
