-- Violations of the facts about raw_ratings, one domain's cleaned ratings; $kept counts the source rows kept in it.

-- name: ratings_are_complete
select * from raw_ratings where trim(user_id) = '' or trim(item_id) = '';

-- name: every_row_is_accounted_for
select * from ingest_counts where rows_read is distinct from kept + rejected;

select *
from (
    select
        (select sum(kept) from ingest_counts) as counted,
        (select $kept from raw_ratings) as kept,
        (select sum(rejected) from ingest_counts) as counted_rejected,
        (select count(*) from rejected_ratings) as rejected
) as sums
where counted is distinct from kept or counted_rejected is distinct from rejected;

-- name: every_rejected_row_has_a_reason
select * from rejected_ratings where reason is null or source_file is null or source_row is null;
