-- Violations of the facts about deployed_model. domain_splits is the pair's split; $modes are those of the run.

-- name: refitted_embeddings_are_of_all_cold_users
select count(*) as deployments from deployed_model having deployments <> 1;

select user_id, mode, count(*) as times from deployed_embeddings group by all having times > 1;

-- Fitted again, and somebody is missing.
select *
from (
    select user_id, cohort, unnest($modes) as mode
    from deployed_model, domain_splits.split_users
    where refitted and cohort in ('cold', 'test')
) as wanted
anti join deployed_embeddings using (user_id, cohort, mode);

select user_id, mode
from deployed_model, deployed_embeddings
where not refitted
    or embedding is null
    or len(list_filter(embedding::float[], lambda x: x is null or not isfinite(x))) > 0;
