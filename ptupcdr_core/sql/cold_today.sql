-- source_given, target_given (raw_ratings of both domains)  ->  who is cold-start today: user_id, cohort. Held-out
-- users are distinguished from those whom the target model was trained on as in the split, by their hash.
with raters as (
    select user_id, bool_or(in_target) as in_target
    from (
        select distinct user_id, false as in_target from source_given
        union all
        select distinct user_id, true from target_given
    )
    where coalesce(user_id = getvariable('asked'), true)
    group by user_id
    having bool_or(not in_target)
)
select user_id, if(in_target, 'test', 'cold') as cohort
from raters
where not in_target
    or unit(getvariable('seed') || ':' || user_id) < getvariable('beta')
order by user_id;
