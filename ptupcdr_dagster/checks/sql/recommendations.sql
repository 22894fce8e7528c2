-- Violations of the facts about recommendations. $source_given and $target_given have user and item of today's ratings
-- in the source and in the target; $deployed says whether anything is deployed, $refitted whether it was fitted again
-- on everybody. Users whose place on [0, 1), computed from $seed as in split.sql, is below $beta were held out from its
-- training.

-- name: every_cold_user_has_recommendations
select *
from (
    select user_id, if(rater is null, 'cold', 'test') as cohort
    from (select distinct user_id from $source_given as given) as people
    left join (select distinct user_id as rater from $target_given as given) as raters on rater = user_id
    where rater is null
        or ('0x' || left(md5('$seed:' || user_id), 13))::bigint::double / 4503599627370496.0 < $beta
) as cold
full join (select distinct user_id, cohort as listed_as from recommendations) as listed using (user_id)
where cohort is distinct from listed_as
    and (listed_as is not null or $deployed)
    and not coalesce(
        -- A user who has rated every item that may be recommended has none left.
        listed_as is null and cohort = 'test' and user_id in (
            select user_id
            from $target_given as given
            semi join recommendable_items using (item_id)
            group by user_id
            having count(*) >= (select count(*) from recommendable_items)
        ), false
    );

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
select * from recommendations where item_id not in (select item_id from $target_given as given);

select * from recommendations anti join recommendable_items using (item_id);

-- name: recommended_items_are_unseen
select user_id, item_id
from recommendations
semi join $target_given as given using (user_id, item_id)
where $refitted
    or ('0x' || left(md5('$seed:' || user_id), 13))::bigint::double / 4503599627370496.0 >= $beta;

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
anti join (select user_id, item_id as reason from $source_given as given) as rated using (user_id, reason);
