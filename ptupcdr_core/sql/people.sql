-- Definitions that training and serving share when they read people's ratings.

-- A user's place on [0, 1): the first 13 hexadecimal digits of an MD5, 52 bits, exact in a double. It depends only on
-- seed and id, so a user stays a test user when others come or go, and a larger beta only adds users.
create temp macro unit(key) as ('0x' || left(md5(key), 13))::bigint::double / 4503599627370496.0;

-- A person's last positive items, oldest first: by time, ties by item id; by file order where there is no time. The rows
-- are those of a table or view of that name: person, item_index, rating, "timestamp", place.
create temp macro last_positive(rows) as table
with positive as (
    select
        person, item_index, rating,
        row_number() over (
            partition by person
            order by "timestamp" desc nulls last, if("timestamp" is null, place, null) desc, item_index desc
        ) as age
    from query_table(rows)
    where coalesce(rating > getvariable('positive_above'), true)
)
select person, (max(age) over (partition by person) - age)::integer as position, item_index, rating
from positive
where age <= getvariable('history_length');
