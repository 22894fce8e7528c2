-- The tables of a benchmark, before they are filled from its cells; those that a grid leaves out stay empty.

create table benchmark (
    pair varchar, method varchar, recipe varchar, mode varchar, beta double, seed bigint, base_model varchar,
    users bigint, ratings bigint,
    mae double, rmse double, mae_of_mean double, log_loss double, mae_epoch bigint, rmse_epoch bigint, seconds double
);
create table benchmark_errors (
    pair varchar, method varchar, recipe varchar, mode varchar, beta double, seed bigint, base_model varchar,
    user_id varchar, ratings bigint, absolute_error double, squared_error double
);
create table benchmark_slices (
    pair varchar, method varchar, recipe varchar, mode varchar, beta double, seed bigint, base_model varchar,
    slice varchar, at_least bigint, at_most bigint, users bigint, ratings bigint, mae double, rmse double
);
create table benchmark_lists (
    pair varchar, method varchar, recipe varchar, mode varchar, beta double, seed bigint, base_model varchar,
    users bigint, ratings bigint,
    ndcg_at_10 double, ndcg_at_50 double, hit_rate_at_10 double, recall_at_10 double, recall_at_50 double, mrr double,
    ndcg_at_10_low double, ndcg_at_10_high double,
    coverage_at_10 double, self_information_at_10 double, long_tail_at_10 double, seconds double
);
create table benchmark_rankings (
    pair varchar, method varchar, recipe varchar, mode varchar, beta double, seed bigint, base_model varchar,
    user_id varchar, ratings bigint,
    ndcg_at_10 double, ndcg_at_50 double, hit_rate_at_10 double, recall_at_10 double, recall_at_50 double, mrr double
);
