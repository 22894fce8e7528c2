"""Facts about ``fine_tuned_embeddings`` and ``warm_start_evaluation``."""

from collections.abc import Iterator

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.cold_start import split_file
from ptupcdr_dagster.checks.facts import Fact, has_columns, no_rows, specs, unique
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource

TUNED, EVALUATION = "fine_tuned_embeddings", "warm_start_evaluation"

_EXPECTED = (
    "(select user_id, amounts.known_ratings, "
    "least(rated // 2, coalesce(try_cast(amounts.known_ratings as integer), rated // 2)) as known_count "
    "from (select user_index, count(*) as rated from read_duckdb('$split_file', table_name = 'split_target_ratings') "
    "where part = 'test' group by user_index) "
    "join read_duckdb('$split_file', table_name = 'split_users') using (user_index) "
    "cross join (values ('1'), ('2'), ('4'), ('8'), ('half')) as amounts(known_ratings)) as expected"
)

TUNED_FACTS = (
    Fact(
        "fine_tuned_embeddings_have_the_declared_columns",
        "The table has the columns that other programs read.",
        (
            has_columns(
                TUNED,
                pair="VARCHAR",
                user_id="VARCHAR",
                mode="VARCHAR",
                known_ratings="VARCHAR",
                known_count="INTEGER",
                embedding="FLOAT[%]",
                started_from="VARCHAR",
            ),
        ),
    ),
    Fact(
        "one_row_per_test_user_and_known_ratings",
        "Every test user has exactly one embedding for each number of known ratings, tuned on as many as that or, "
        "where there are fewer, on the first half of the user's ratings; nobody else has one.",
        (
            unique("user_id", "mode", "known_ratings"),
            no_rows(
                f"select expected.* from {_EXPECTED} left join {TUNED} as t on t.user_id = expected.user_id "
                "and t.known_ratings = expected.known_ratings and t.mode = '$mode' "
                "where t.known_count is distinct from expected.known_count"
            ),
            no_rows(
                f"select t.user_id, t.mode, t.known_ratings from {TUNED} as t "
                f"left join {_EXPECTED} using (user_id, known_ratings) where expected.user_id is null"
            ),
        ),
    ),
    Fact(
        "fine_tuned_embeddings_are_finite",
        "No coordinate is missing, NaN or infinite.",
        (
            no_rows(
                f"select user_id, mode, known_ratings from {TUNED} where embedding is null "
                "or len(list_filter(embedding::float[], lambda x: x is null or not isfinite(x))) > 0"
            ),
        ),
    ),
    Fact(
        "every_start_is_declared",
        "Each embedding says where its tuning started: at the personal bridge's, or at which fallback's.",
        (
            no_rows(
                f"select * from {TUNED} where started_from is null "
                "or started_from not in ('bridge', 'common_bridge', 'mean')"
            ),
        ),
    ),
)

EVALUATION_FACTS = (
    Fact(
        "methods_share_their_second_halves",
        "Every method is measured on the same users and ratings, however many ratings are known.",
        (
            unique("method", "recipe", "mode", "known_ratings"),
            no_rows(
                f"select mode, count(distinct (users, ratings)) as sets from {EVALUATION} group by mode having sets > 1"
            ),
            no_rows(
                f"select method, mode, count(*) as amounts from {EVALUATION} group by all "
                "having list_sort(list(known_ratings)) <> ['0', '1', '2', '4', '8', 'half']"
            ),
            no_rows(f"select * from {EVALUATION} where users <= 0 or ratings < users"),
        ),
    ),
    Fact(
        "warm_start_errors_add_up",
        "MAE and RMSE of every method are finite and those of its users' errors, kept for paired comparisons.",
        (
            no_rows(
                "select * from (select method, recipe, mode, known_ratings, count(*) as users, "
                "sum(ratings) as ratings, sum(absolute_error) / sum(ratings) as mae, "
                "sqrt(sum(squared_error) / sum(ratings)) as rmse from warm_start_errors group by all) as summed "
                f"full outer join {EVALUATION} as e using (method, recipe, mode, known_ratings) "
                "where e.users is distinct from summed.users or e.ratings is distinct from summed.ratings "
                "or not coalesce(abs(e.mae - summed.mae) < 1e-4 and abs(e.rmse - summed.rmse) < 1e-4, false)"
            ),
        ),
    ),
    Fact(
        "bridged_start_beats_random_start",
        "Fine-tuned from the bridged embedding, the RMSE is below that of a random start, however many ratings are "
        "known. Where it is not, the bridge gives no head start.",
        (
            no_rows(
                "select p.mode, p.known_ratings, p.rmse as bridged, r.rmse as random "
                f"from {EVALUATION} as p join {EVALUATION} as r using (mode, known_ratings) "
                "where p.method = 'ptupcdr' and r.method = 'random' and not coalesce(p.rmse < r.rmse, false)"
            ),
        ),
        warning=True,
    ),
)


@dg.multi_asset_check(specs=specs(TUNED, TUNED_FACTS, PAIRS), name="fine_tuned_embeddings_checks")
def fine_tuned_embeddings_checks(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate one pair's fine-tuned embeddings against its split."""
    from ptupcdr_dagster.checks.validation import validate_table

    pair = context.partition_key
    parameters = {"split_file": split_file(home, pair), "mode": "rating"}
    yield from validate_table(Warehouse(home.warehouse).file(TUNED, pair), TUNED, TUNED, TUNED_FACTS, parameters)


@dg.multi_asset_check(specs=specs(EVALUATION, EVALUATION_FACTS, PAIRS), name="warm_start_evaluation_checks")
def warm_start_evaluation_checks(
    context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate one pair's warm-start evaluation against its own per-user errors."""
    from ptupcdr_dagster.checks.validation import validate_table

    file = Warehouse(home.warehouse).file(EVALUATION, context.partition_key)
    yield from validate_table(file, EVALUATION, EVALUATION, EVALUATION_FACTS)
