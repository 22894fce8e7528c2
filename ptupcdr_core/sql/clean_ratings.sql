-- staged, unreadable, source_files  ->  raw_ratings, rejected_ratings, ingest_counts.
create temp table judged as
with typed as (
    select
        s.rowid as place, file_index, user_id, item_id, fault, "timestamp" as timestamp_text,
        number_in(rating) as score,
        moment_in("timestamp", ticks) as moment
    from staged s join source_files using (file_index)
    where fault is null or fault <> 'blank'
)
select
    place, file_index, user_id, item_id, score, moment,
    case
        when fault is not null then fault
        when trim(coalesce(user_id, '')) = '' then 'empty_user_id'
        when trim(coalesce(item_id, '')) = '' then 'empty_item_id'
        when score is null or not isfinite(score) then 'rating_not_a_number'
        when score not between getvariable('low') and getvariable('high') then 'rating_off_scale'
        -- An empty timestamp says that the time is unknown; one that says something must be understood.
        when trim(coalesce(timestamp_text, '')) <> '' and not is_time(moment)
            then 'timestamp_unparseable'
    end as reason
from typed;

-- Repeats are few, so only they are sorted; and only they are compared as texts, since all pairs of ids together would
-- take more memory than the rest of the cleaning.
create temp table superseded as
with repeated as (
    select hash(user_id, item_id) as pair from judged where reason is null group by pair having count(*) > 1
)
select place
from judged semi join repeated on hash(judged.user_id, judged.item_id) = repeated.pair
where reason is null
qualify row_number() over (partition by user_id, item_id order by moment desc nulls last, place desc) > 1;

create table raw_ratings as
select getvariable('domain') as domain, user_id, item_id, score as rating, moment as "timestamp"
from judged anti join superseded using (place)
where reason is null
order by place;

-- A row's number in its file is its place among those read, plus the unreadable lines before it.
create temp table gaps as
select file_index, source_row - ahead as rows_before, max(ahead) as unreadable_before
from (
    select *, row_number() over (partition by file_index order by source_row) as ahead from unreadable
)
group by all;

create table rejected_ratings as
with rejected as (
    select place, reason from judged where reason is not null
    union all
    select place, 'superseded' from superseded
),
numbered as (
    select
        s.file_index, s.user_id, s.item_id, s.rating, s."timestamp", reason,
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
    getvariable('domain') as domain, user_id, item_id, rating, "timestamp", reason, source_file, source_row
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
