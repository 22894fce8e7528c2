-- Violations of the facts about fine_tuned_embeddings. domain_splits is the pair's split.

-- name: one_row_per_test_user_and_known_ratings
-- Users who are missing, who should not be there, or who were tuned on a wrong number of ratings.
with rated as (
    select user_id, count(*) as ratings
    from domain_splits.split_target_ratings
    join domain_splits.split_users using (user_index)
    cross join domain_splits.split_summary as s
    where part = 'test'
        and ('0x' || left(md5(s.seed || ':read:' || user_id), 13))::bigint / 4503599627370496.0 < s.overlapping_read
    group by user_id
),
expected as (
    select
        user_id, known_ratings, 'rating' as mode,
        least(ratings // 2, coalesce(try_cast(known_ratings as integer), ratings // 2)) as known_count
    from rated
    cross join (values ('1'), ('2'), ('4'), ('8'), ('half')) as amounts(known_ratings)
)
select user_id, mode, known_ratings, expected.known_count as expected, tuned.known_count as found
from expected
full outer join fine_tuned_embeddings as tuned using (user_id, mode, known_ratings)
where expected.known_count is null or tuned.known_count is distinct from expected.known_count;

-- name: fine_tuned_embeddings_are_finite
select user_id, mode, known_ratings
from fine_tuned_embeddings
where embedding is null or len(list_filter(embedding::float[], lambda x: x is null or not isfinite(x))) > 0;

-- name: every_start_is_declared
select *
from fine_tuned_embeddings
where started_from is null or started_from not in ('bridge', 'common_bridge', 'mean');
