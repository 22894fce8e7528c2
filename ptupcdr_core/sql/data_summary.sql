-- source_rows, target_rows (person, item, rating)  ->  numbers of users, items and ratings, and of users with ratings
-- on both sides.
select
    (select count(distinct person) from source_rows) as source_users,
    (select count(distinct item) from source_rows) as source_items,
    (select count(*) from source_rows) as source_ratings,
    (select count(distinct person) from target_rows) as target_users,
    (select count(distinct item) from target_rows) as target_items,
    (select count(*) from target_rows) as target_ratings,
    (select count(*) from (select person from source_rows intersect select person from target_rows)) as shared_users;
