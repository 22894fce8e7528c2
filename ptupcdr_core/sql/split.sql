-- raw_ratings of both domains (source_file, target_file)  ->  the split_* tables of one pair.
create temp table known_users as
select user_id, bool_or(side = 's') as in_source, bool_or(side = 't') as in_target
from (
    select distinct user_id, 's' as side from source_file.raw_ratings
    union all
    select distinct user_id, 't' from target_file.raw_ratings
)
group by user_id;

-- A user's place on [0, 1): the first 13 hexadecimal digits of an md5, 52 bits, exact in a double. It depends on
-- nothing but seed and id, so a user stays a test user when others come or go, and a larger beta only adds users.
create macro unit(key) as ('0x' || left(md5(key), 13))::bigint::double / 4503599627370496.0;

create table split_users as
select
    getvariable('pair') as pair,
    row_number() over (order by user_id)::integer as user_index,
    user_id,
    case
        when not in_target then 'cold'
        when not in_source then 'target_only'
        when unit(getvariable('seed') || ':' || user_id) < getvariable('beta') then 'test'
        when unit(getvariable('seed') || ':validation:' || user_id) < getvariable('validation_fraction')
            then 'validation'
        else 'bridge'
    end as cohort
from known_users
order by user_id;

create table split_source_items as
select getvariable('pair') as pair, row_number() over (order by item_id)::integer as item_index, item_id
from (select distinct item_id from source_file.raw_ratings)
order by item_id;

create table split_target_items as
select getvariable('pair') as pair, row_number() over (order by item_id)::integer as item_index, item_id
from (select distinct item_id from target_file.raw_ratings)
order by item_id;

create table split_source_ratings as
select getvariable('pair') as pair, user_index, item_index, rating::float as rating, "timestamp"
from source_file.raw_ratings join split_users using (user_id) join split_source_items using (item_id)
order by user_index, item_index;

create table split_target_ratings as
select
    getvariable('pair') as pair, user_index, item_index, rating::float as rating, "timestamp",
    case when cohort in ('test', 'validation') then cohort else 'train' end as part
from target_file.raw_ratings join split_users using (user_id) join split_target_items using (item_id)
order by user_index, item_index;

create table split_histories as
with positive as (
    select
        user_index, item_index, rating::float as rating,
        row_number() over (
            partition by user_index
            order by "timestamp" desc nulls last, case when "timestamp" is null then r.rowid end desc, item_index desc
        ) as age,
        count(*) over (partition by user_index) as amount
    from source_file.raw_ratings r join split_users using (user_id) join split_source_items using (item_id)
    where rating > getvariable('positive_above')
)
select
    getvariable('pair') as pair, user_index,
    (least(amount, getvariable('history_length')) - age)::integer as position,
    item_index, rating
from positive
where age <= getvariable('history_length')
order by user_index, position;

create table split_summary as
select
    getvariable('pair') as pair, getvariable('beta')::double as beta, getvariable('seed')::bigint as seed,
    getvariable('history_length')::integer as history_length,
    getvariable('positive_above')::double as positive_above,
    getvariable('validation_fraction')::double as validation_fraction,
    getvariable('source_low')::double as source_low, getvariable('source_high')::double as source_high,
    getvariable('target_low')::double as target_low, getvariable('target_high')::double as target_high,
    (select count(*) from split_users where cohort = 'test') as test_users,
    (select count(*) from split_users where cohort = 'validation') as validation_users,
    (select count(*) from split_users where cohort = 'bridge') as bridge_users,
    (select count(*) from split_users where cohort = 'cold') as cold_users,
    (select count(*) from split_users where cohort = 'target_only') as target_only_users,
    (select count(*) from split_source_items join split_target_items using (item_id)) as shared_item_ids,
    (
        select sha256(string_agg(kind || chr(9) || id, chr(10) order by kind, id))
        from (
            select 'user' as kind, user_id as id from split_users
            union all select 'source_item', item_id from split_source_items
            union all select 'target_item', item_id from split_target_items
        )
    ) as vocabulary;

drop macro unit;
