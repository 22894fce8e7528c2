-- Violations of the facts about bridged_embeddings. domain_splits is the pair's split; $modes are the run's modes.

-- name: one_row_per_cold_user_and_mode
-- Users who are missing in some mode.
select cold.user_id, cold.cohort, modes.mode
from domain_splits.split_users as cold
cross join (select mode from bridged_embeddings union select unnest($modes)) as modes(mode)
anti join bridged_embeddings using (user_id, cohort, mode)
where cold.cohort in ('cold', 'test');

-- Users who should not be there.
select user_id, cohort
from bridged_embeddings
anti join (from domain_splits.split_users where cohort in ('cold', 'test')) as cold using (user_id, cohort);

-- name: embeddings_are_finite
select user_id, mode
from bridged_embeddings
where embedding is null or len(list_filter(embedding::float[], lambda x: x is null or not isfinite(x))) > 0;

-- name: embeddings_are_not_collapsed
select mode, count(*) as users, count(distinct embedding) as embeddings
from bridged_embeddings
where made_by = 'bridge'
group by mode
having users > 1 and embeddings = 1;

-- name: norms_are_comparable_with_the_target_model
select *
from (
    select
        mode,
        median(sqrt(list_sum(list_transform(embedding::double[], lambda x: x * x)))) as bridged,
        ($target_norm)::double as own
    from bridged_embeddings
    group by mode
) as norms
where bridged is null or bridged not between own / $norms_within_factor and own * $norms_within_factor;

-- name: every_fallback_is_declared
select *
from bridged_embeddings
where made_by is null or made_by not in ('bridge', 'common_bridge', 'mean');
