-- Violations of the facts about deployed_model; $modes are the run's modes.

-- name: every_mode_is_served_or_said_why
select mode from (select unnest($modes) as mode) as wanted anti join deployed_model using (mode);

select mode, count(*) as times from deployed_model group by mode having times > 1;

select mode, serves
from deployed_model
where serves is null
    or serves not in ('new', 'kept', 'nothing')
    or coalesce(reason, '') = ''
    or (serves <> 'nothing' and not coalesce(bridge_users > 0 and target_ratings > 0, false));
