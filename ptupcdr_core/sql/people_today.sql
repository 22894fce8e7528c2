-- source_given, asked(user_id, person), known_source_items(item_id, item_index), the source's raw_ratings
--   ->  asked_ratings, asked_histories: as in split.sql and newcomers.sql. place keeps the file's order.
create temp table asked_rows as
select person, item_index, rating::float as rating, "timestamp"::float as moment, "timestamp", place
from source_given
join asked using (user_id)
join known_source_items using (item_id);

create temp view asked_ratings as select person, item_index, rating, moment from asked_rows;

create temp table asked_histories as from last_positive('asked_rows');
