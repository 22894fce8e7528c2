-- Violations of the facts about benchmark.

-- name: one_row_per_cell
select recipe, beta, seed, base_model, method, mae, rmse
from benchmark
where mae is null or rmse is null or not isfinite(mae) or not isfinite(rmse);

-- name: methods_of_a_split_share_their_test_ratings
select beta, seed, count(distinct (users, ratings)) as sets
from benchmark
group by beta, seed
having sets > 1;

-- name: errors_of_users_add_up
select recipe, beta, seed, base_model, method, mae, found
from benchmark
left join (
    select recipe, beta, seed, base_model, method, sum(absolute_error) / sum(ratings) as found
    from benchmark_errors
    group by all
) as sums using (recipe, beta, seed, base_model, method)
where found is null or abs(found - mae) > 1e-6;

-- name: lists_of_users_add_up
select beta, seed, method, ndcg_at_10, found
from $lists as lists
left join (select beta, seed, method, avg(ndcg_at_10) as found from $rankings as rankings group by all) as means
using (beta, seed, method)
where found is null or abs(found - ndcg_at_10) > 1e-6;
