-- source_given, target_given (raw_ratings of both sides, rating null where there are no stars; own_id is the item's in
-- its own domain, from which item_id differs where several domains are one source)
--   ->  the split_* tables of one pair.

create temp table known_users as
select user_id, bool_or(in_source) as in_source, bool_or(not in_source) as in_target
from (
    select distinct user_id, true as in_source from source_given
    union all
    select distinct user_id, false from target_given
)
group by user_id;

-- Indices count from 1 in the order of the ids' bytes; 0 is only padding.
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
order by user_index;

-- The items of a domain follow each other: with several domains, all of their ids begin with the domain's name.
create table split_source_items as
select getvariable('pair') as pair, row_number() over (order by item_id)::integer as item_index, item_id, domain
from (select distinct item_id, domain from source_given)
order by item_index;

create table split_target_items as
select getvariable('pair') as pair, row_number() over (order by item_id)::integer as item_index, item_id
from (select distinct item_id from target_given)
order by item_index;

-- Ids become indices once; place keeps the file's order for domains without timestamps.
create temp table source_rows as
select user_index as person, item_index, rating::float as rating, "timestamp", r.place
from source_given r join split_users using (user_id) join split_source_items using (item_id);

create table split_source_ratings as
select getvariable('pair') as pair, person as user_index, item_index, rating, "timestamp"
from source_rows
order by user_index, item_index;

-- The part is a column, so that every reader of ratings must name the part that it may use. The file's order is kept in
-- the column place: without timestamps it says which ratings of a warm-start user came first.
create table split_target_ratings as
select
    getvariable('pair') as pair, user_index, item_index, rating::float as rating, "timestamp",
    case when cohort in ('test', 'validation') then cohort else 'train' end as part,
    r.place
from target_given r join split_users using (user_id) join split_target_items using (item_id)
order by user_index, item_index;

create table split_histories as
select getvariable('pair') as pair, person as user_index, position, item_index, rating
from last_positive('source_rows')
order by user_index, position;

-- Totals that need a scan of everything; split_summary takes them together with the settings of the split.
create temp table split_totals as
select
    -- The same id in both domains may be the same item: then the source gives the target's answers away.
    (
        select count(*)
        from (select distinct own_id from source_given) join split_target_items as t on own_id = t.item_id
    ) as shared_item_ids,
    (
        select count(*)
        from (
            select user_id, own_id as item_id
            from source_given semi join split_target_items as t on own_id = t.item_id
        )
        semi join target_given using (user_id, item_id)
    ) as shared_ratings,
    -- A digest of digests of some ids each, since all ids in one text would take gigabytes. A length before each id
    -- keeps two vocabularies from giving the same text.
    (
        select sha256(string_agg(digest, chr(10) order by kind, block))
        from (
            select
                kind, (place - 1) // 65536 as block,
                sha256(string_agg(kind || strlen(id) || ':' || id, chr(10) order by place)) as digest
            from (
                select 'user' as kind, user_index as place, user_id as id from split_users
                union all select 'source', item_index, item_id from split_source_items
                union all select 'target', item_index, item_id from split_target_items
            )
            group by kind, block
        )
    ) as vocabulary;
