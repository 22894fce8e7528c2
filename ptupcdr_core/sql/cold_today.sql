-- source_given, target_given (raw_ratings of both domains)  ->  who is cold-start today: user_id, cohort. A person's place on [0, 1) is that of
-- split.sql, so that held-out users are told from those whom the target model was trained on.
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
    or ('0x' || left(md5(getvariable('seed') || ':' || user_id), 13))::bigint::double / 4503599627370496.0
        < getvariable('beta')
order by user_id;
