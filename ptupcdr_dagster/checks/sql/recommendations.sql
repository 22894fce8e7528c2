-- Violations of the facts about recommendations. source_file and target_file have the raw ratings of the pair's two
-- domains; $deployed says whether anything is deployed, $refitted whether it was fitted again on everybody. The table
-- drift has tonight's numbers beside those of the training; bounds.toml has what they are held against.

-- name: every_cold_user_has_recommendations
select distinct user_id
from source_file.raw_ratings
anti join target_file.raw_ratings using (user_id)
anti join recommendations using (user_id)
where $deployed;

select user_id, cohort
from recommendations
anti join source_file.raw_ratings using (user_id);

select user_id, cohort
from recommendations
left join (select distinct user_id as rater from target_file.raw_ratings) on rater = user_id
where cohort is distinct from if(rater is null, 'cold', 'test');

select user_id, mode
from recommendations
group by user_id, mode
having min(rank) <> 1 or max(rank) <> count(*);

select *
from (
    select user_id, mode, rank, score, lag(score) over (partition by user_id, mode order by rank) as better
    from recommendations
) as ranked
where score is null or not isfinite(score) or score > better;

-- name: recommended_items_are_target_items
select * from recommendations where item_id not in (select item_id from target_file.raw_ratings);

-- name: recommended_items_are_unseen
select user_id, item_id
from recommendations
semi join target_file.raw_ratings using (user_id, item_id)
where cohort = 'cold' or $refitted;

-- name: reasons_are_from_the_history
select user_id, rank
from recommendations
where reasons is null
    or len(reasons) > 3
    or len(reasons) is distinct from len(reason_weights)
    or list_reverse_sort(reason_weights) <> reason_weights
    or not coalesce(list_min(reason_weights) > 0, len(reasons) = 0)
    or bridged is distinct from (made_by = 'bridge');

select user_id, reason
from (select user_id, unnest(reasons) as reason from recommendations) as named
anti join (select user_id, item_id as reason from source_file.raw_ratings) as rated using (user_id, reason);

-- name: counts_are_near_those_of_the_training
select measure, before, tonight, round(drift, 3) as change
from drift
where kind = 'count' and abs(drift) > $most_change_of_counts;

-- name: stars_are_spread_as_in_the_training
select measure, round(drift, 3) as stability_index, round(before, 3) as mean_before, round(tonight, 3) as mean_tonight
from drift
where kind = 'stars' and drift > $most_drift_of_stars;

-- name: rated_items_are_known_to_the_bundle
select measure, round(drift, 4) as unknown_share
from drift
where kind = 'unknown' and drift > $most_unknown;

-- name: scores_are_spread_as_at_the_deployment
select round(drift, 3) as stability_index, round(before, 4) as mean_before, round(tonight, 4) as mean_tonight
from drift
where measure = 'scores' and drift > $most_drift_of_scores;

-- name: lists_resemble_those_of_the_night_before
select round(drift, 3) as new_items, round(tonight, 3) as overlap
from drift
where measure = 'list_overlap' and drift > $most_new_in_lists;

-- name: no_training_is_due
select measure, round(drift, 3) as drift, 'retrain: ptupcdr backfill ' || pair as recommended
from drift
where (kind = 'count' and abs(drift) > $most_change_of_counts)
    or (kind = 'stars' and drift > $most_drift_of_stars)
    or (kind = 'unknown' and drift > $most_unknown)
    or (measure = 'scores' and drift > $most_drift_of_scores);
