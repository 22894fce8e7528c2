-- judged  ->  raw_ratings: events without stars; nothing is superseded.

create temp table superseded (place bigint);

-- Repeats are one event that happened several times; it takes the place of the last one.
create table raw_ratings as
select *, row_number() over () - 1 as place
from (
    select
        getvariable('domain') as domain, user_id, item_id, count(*)::integer as events, sum(value) as weight,
        min(moment) as first_time, max(moment) as "timestamp"
    from judged
    where reason is null
    group by user_id, item_id
    order by max(place)
);
