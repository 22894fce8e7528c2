-- given(user_id, item_id, rating, "timestamp": texts; place), known_source_items
--   ->  faulty (rows that cannot be used), newcomers, newcomer_ratings, newcomer_histories.
create temp table judged as
with typed as (
    select
        *, if(getvariable('rated'), number_in(rating), null) as score,
        moment_in("timestamp", 1) as moment
    from given
)
select
    place, user_id, item_id, rating, "timestamp", score, moment,
    case
        when trim(coalesce(user_id, '')) = '' then 'user_id'
        when trim(coalesce(item_id, '')) = '' then 'item_id'
        when getvariable('rated') and not coalesce(score between getvariable('low') and getvariable('high'), false)
            then 'rating'
        when trim(coalesce("timestamp", '')) <> '' and not is_time(moment) then 'timestamp'
    end as fault
from typed;

create temp table faulty as
select
    place, fault,
    case fault when 'user_id' then user_id when 'item_id' then item_id when 'rating' then rating else "timestamp" end
        as found
from judged where fault is not null order by place limit 1;

-- As in cleaning: of a repeated (user, item), keep the latest by time, and among equal times the last.
create temp table once as
select user_id, item_id, score, moment, place, item_index
from judged left join known_source_items using (item_id)
qualify row_number() over (partition by user_id, item_id order by moment desc nulls last, place desc) = 1;

create temp table newcomers as
select row_number() over (order by user_id)::integer as person, user_id, known_items, unknown_items
from (
    select user_id, count(item_index) as known_items, count(item_id) - count(item_index) as unknown_items
    from (select user_id, item_id, item_index from once union all select user_id, null, null from asked)
    group by user_id
);

create temp table newcomer_ratings as
select person, item_index, score::float as rating, moment, moment as "timestamp", place
from once join newcomers using (user_id)
where item_index is not null;

create temp table newcomer_histories as from last_positive('newcomer_ratings');
