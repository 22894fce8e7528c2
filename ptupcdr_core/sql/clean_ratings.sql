-- staged (all text, unjudged)  ->  raw_ratings, rejected_ratings, ingest_counts.
create temp table judged as
with typed as (
    select
        file_index, source_row, user_id, item_id,
        rating as rating_text, "timestamp" as timestamp_text, fault,
        try_cast(rating as double) as score,
        coalesce(
            try_cast("timestamp" as double),
            epoch(try_cast("timestamp" as timestamptz))
        ) as moment
    from staged
)
select
    *,
    case
        when fault is not null then fault
        when trim(coalesce(user_id, '')) = '' then 'empty_user_id'
        when trim(coalesce(item_id, '')) = '' then 'empty_item_id'
        when score is null or not isfinite(score) then 'rating_not_a_number'
        when score not between getvariable('low') and getvariable('high') then 'rating_off_scale'
        when trim(coalesce(timestamp_text, '')) <> '' and (moment is null or not isfinite(moment))
            then 'timestamp_unparseable'
    end as reason
from typed;

create temp table ranked as
select
    *,
    row_number() over (
        partition by user_id, item_id
        order by moment desc nulls last, file_index desc, source_row desc
    ) as age
from judged
where reason is null;

create table raw_ratings as
select getvariable('domain') as domain, user_id, item_id, score as rating, moment as "timestamp"
from ranked
where age = 1
order by file_index, source_row;

create table rejected_ratings as
select
    getvariable('domain') as domain, user_id, item_id, rating_text as rating, timestamp_text as "timestamp",
    reason, source_file, source_row
from (
    select file_index, source_row, user_id, item_id, rating_text, timestamp_text, reason
    from judged where reason is not null
    union all
    select file_index, source_row, user_id, item_id, rating_text, timestamp_text, 'superseded'
    from ranked where age > 1
)
join source_files using (file_index)
order by file_index, source_row;

create table ingest_counts as
select
    getvariable('domain') as domain, source_file, rows_read,
    (select count(*) from ranked r where r.file_index = f.file_index and age = 1) as kept,
    (select count(*) from rejected_ratings r where r.source_file = f.source_file) as rejected
from source_files f
order by file_index;
