-- Measures of the last night in the table drift that are beyond their bounds ($count, $stars, $unknown, $scores and
-- $overlap of bounds.toml), and not by chance. The failed check shows the numbers.

-- name: counts_are_near_those_of_the_training
select measure, before, tonight, round(drift, 3) as change
from drift
where night = (select max(night) from drift) and kind = 'count' and abs(drift) > $count;

-- name: ratings_are_spread_as_in_the_training
select measure, round(drift, 3) as stability_index, round(before, 3) as mean_before, round(tonight, 3) as mean_tonight
from drift
where night = (select max(night) from drift) and kind = 'stars' and drift > greatest($stars, chance);

-- name: rated_items_are_known_to_the_bundle
select measure, round(drift, 4) as share
from drift
where night = (select max(night) from drift) and kind = 'unknown' and drift > $unknown;

-- name: scores_are_spread_as_on_the_first_night
select measure, round(drift, 3) as stability_index, round(before, 3) as mean_before, round(tonight, 3) as mean_tonight
from drift
where night = (select max(night) from drift) and kind = 'scores' and drift > greatest($scores, chance);

-- name: lists_resemble_those_of_the_night_before
select round(drift, 3) as new_items, round(tonight, 3) as items_as_before
from drift
where night = (select max(night) from drift) and kind = 'overlap' and drift > $overlap;

-- name: no_training_is_due
select 'retrain with: ptupcdr backfill ' || pair as recommended, string_agg(measure, ' ' order by measure) as because
from drift
where night = (select max(night) from drift)
    and abs(drift) > case kind
        when 'count' then $count
        when 'stars' then greatest($stars, chance)
        when 'unknown' then $unknown
        when 'scores' then greatest($scores, chance)
        else 'infinity'::double
    end
group by pair;
