-- Violations of the facts about cold_start_evaluation.

-- name: methods_share_their_test_users
select mode, count(distinct (users, ratings)) as sets
from cold_start_evaluation
group by mode
having sets > 1;

select * from cold_start_evaluation where users <= 0 or ratings < users;

-- name: errors_add_up
select *
from (
    select
        method, recipe, mode, count(*) as users, sum(ratings) as ratings,
        sum(absolute_error) / sum(ratings) as mae, sqrt(sum(squared_error) / sum(ratings)) as rmse
    from cold_start_errors
    group by all
) as summed
full outer join (from cold_start_evaluation where mode = 'rating') as e using (method, recipe, mode)
where e.users is distinct from summed.users
    or e.ratings is distinct from summed.ratings
    or not coalesce(abs(e.mae - summed.mae) < 1e-4 and abs(e.rmse - summed.rmse) < 1e-4, false);

-- name: bridge_beats_item_mean
select p.recipe, p.mode, p.rmse as ptupcdr, i.rmse as item_mean
from cold_start_evaluation as p
join cold_start_evaluation as i using (mode)
where p.method = 'ptupcdr' and i.method = 'item_mean' and not coalesce(p.rmse < i.rmse, false);

-- name: bridge_ranks_better_than_popularity
select p.recipe, p.ndcg_at_10 as ptupcdr, b.ndcg_at_10 as popularity
from cold_start_evaluation as p
join cold_start_evaluation as b using (mode)
where p.mode = 'ranking' and p.method = 'ptupcdr' and b.method = 'popularity'
    and not coalesce(p.ndcg_at_10 > b.ndcg_at_10, false);
