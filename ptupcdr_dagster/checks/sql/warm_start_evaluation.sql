-- Violations of the facts about warm_start_evaluation.

-- name: methods_share_their_second_halves
select mode, count(distinct (users, ratings)) as sets
from warm_start_evaluation
group by mode
having sets > 1;

select method, mode, count(*) as amounts
from warm_start_evaluation
group by all
having list_sort(list(known_ratings)) <> ['0', '1', '2', '4', '8', 'half'];

select * from warm_start_evaluation where users <= 0 or ratings < users;

-- name: warm_start_errors_add_up
select *
from (
    select
        method, recipe, mode, known_ratings, count(*) as users, sum(ratings) as ratings,
        sum(absolute_error) / sum(ratings) as mae, sqrt(sum(squared_error) / sum(ratings)) as rmse
    from warm_start_errors
    group by all
) as summed
full outer join warm_start_evaluation as e using (method, recipe, mode, known_ratings)
where e.users is distinct from summed.users
    or e.ratings is distinct from summed.ratings
    or not coalesce(abs(e.mae - summed.mae) < 1e-4 and abs(e.rmse - summed.rmse) < 1e-4, false);

-- name: bridged_start_beats_random_start
select p.mode, p.known_ratings, p.rmse as bridged, r.rmse as random
from warm_start_evaluation as p
join warm_start_evaluation as r using (mode, known_ratings)
where p.method = 'ptupcdr' and r.method = 'random' and not coalesce(p.rmse < r.rmse, false);
