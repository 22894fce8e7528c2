-- split_users, split_totals  ->  split_summary: the settings of a pair's split, and its counts.
create table split_summary as
select
    getvariable('pair') as pair, getvariable('beta')::double as beta, getvariable('seed')::bigint as seed,
    getvariable('history_length')::integer as history_length,
    getvariable('positive_above')::double as positive_above,
    getvariable('validation_fraction')::double as validation_fraction,
    getvariable('source_low')::double as source_low, getvariable('source_high')::double as source_high,
    getvariable('target_low')::double as target_low, getvariable('target_high')::double as target_high,
    (select count(*) from split_users where cohort = 'test') as test_users,
    (select count(*) from split_users where cohort = 'validation') as validation_users,
    (select count(*) from split_users where cohort = 'bridge') as bridge_users,
    (select count(*) from split_users where cohort = 'cold') as cold_users,
    (select count(*) from split_users where cohort = 'target_only') as target_only_users,
    getvariable('overlapping_read')::double as overlapping_read, getvariable('others_read')::double as others_read,
    shared_item_ids, shared_ratings, vocabulary
from split_totals;
