-- Violations of the facts about recommendations. domain_splits is the pair's split; $deployed says whether anything is
-- deployed, $refitted whether it was fitted again on everybody.

-- name: every_cold_user_has_recommendations
select cold.*
from (select user_id, cohort from domain_splits.split_users where cohort in ('cold', 'test') and $deployed) as cold
anti join recommendations using (user_id)
anti join (
    -- Who has rated every item that may be recommended has none left.
    select user_id
    from domain_splits.split_users
    join domain_splits.split_target_ratings using (user_index)
    join domain_splits.split_target_items using (item_index)
    join recommendable_items using (item_id)
    where part = 'test'
    group by user_id
    having count(*) >= (select count(*) from recommendable_items)
) as satisfied using (user_id);

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
select * from recommendations where item_id not in (select item_id from domain_splits.split_target_items);

select * from recommendations anti join recommendable_items using (item_id);

-- name: recommended_items_are_unseen
select user_id, item_id
from recommendations
join domain_splits.split_users using (user_id)
join domain_splits.split_target_items using (item_id)
semi join (
    from domain_splits.split_target_ratings
    where part = 'train' or $refitted
) as rated using (user_index, item_index);

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
left join domain_splits.split_users using (user_id)
left join domain_splits.split_source_items on item_id = reason
anti join domain_splits.split_source_ratings using (user_index, item_index);
