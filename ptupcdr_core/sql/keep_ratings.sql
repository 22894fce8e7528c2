-- judged  ->  superseded, raw_ratings.

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

-- A row's place among those kept is a column: later readers need the order, which table files do not keep.
create table raw_ratings as
select *, row_number() over () - 1 as place
from (
    select getvariable('domain') as domain, user_id, item_id, value as rating, moment as "timestamp"
    from judged anti join superseded using (place)
    where reason is null
    order by place
);
