-- Violations of the facts about domain_splits, one pair's cold-start split.

-- name: enough_overlapping_users
select *
from (
    select
        count_if(cohort = 'test') as test,
        count_if(cohort = 'validation') as validation,
        count_if(cohort = 'bridge') as bridge
    from split_users
) as cohorts
where bridge < $least_bridge_users or validation < $least_validation_users or test < $least_test_users;

-- name: cohorts_are_disjoint
select *
from split_users
where cohort is null or cohort not in ('test', 'validation', 'bridge', 'cold', 'target_only');

select *
from split_users
where (cohort <> 'target_only') <> (user_index in (select user_index from split_source_ratings))
    or (cohort <> 'cold') <> (user_index in (select user_index from split_target_ratings));

-- name: beta_within_tolerance
select *, overlapping * beta as expected
from (
    select
        count_if(cohort = 'test') as test,
        count_if(cohort in ('test', 'validation', 'bridge')) as overlapping,
        (select beta from split_summary) as beta
    from split_users
) as held_out
where overlapping = 0
    or abs(test - overlapping * beta) > $beta_standard_deviations * sqrt(overlapping * beta * (1 - beta));

-- name: no_test_user_in_target_training
select r.*, u.cohort
from split_target_ratings as r
join split_users as u using (user_index)
where r.part is distinct from case when u.cohort in ('test', 'validation') then u.cohort else 'train' end;

-- name: histories_hold_known_source_items
select h.*
from split_histories as h
left join split_source_ratings as r using (user_index, item_index)
left join split_source_items as i using (item_index)
where i.item_id is null
    or r.rating is distinct from h.rating
    or h.rating <= (select positive_above from split_summary);

select user_index
from split_histories
group by user_index
having min(position) <> 0
    or max(position) <> count(*) - 1
    or count(distinct position) <> count(*)
    or count(*) > (select history_length from split_summary);

-- name: indices_count_from_1
select *
from (
    select
        'split_users' as numbered, min(user_index) as first, max(user_index) as last,
        count(distinct user_index) as amount, count(*) as entries
    from split_users
    union all
    select
        'split_source_items' as numbered, min(item_index) as first, max(item_index) as last,
        count(distinct item_index) as amount, count(*) as entries
    from split_source_items
    union all
    select
        'split_target_items' as numbered, min(item_index) as first, max(item_index) as last,
        count(distinct item_index) as amount, count(*) as entries
    from split_target_items
) as numbers
where first is distinct from 1 or last <> entries or amount <> entries;

-- name: item_ids_differ_between_domains
select shared_item_ids from split_summary where shared_item_ids > 0;

-- name: times_are_of_one_unit
select *
from (
    select
        (select median("timestamp") from split_source_ratings) as source_time,
        (select median("timestamp") from split_target_ratings) as target_time
) as medians
where source_time > 0 and target_time > 0 and (source_time > 100 * target_time or target_time > 100 * source_time);
