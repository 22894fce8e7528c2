"""Facts about ``benchmark``."""

from collections.abc import Iterator

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import Fact, has_columns, no_rows, specs, unique
from ptupcdr_dagster.partitions import PAIRS

ASSET = "benchmark"
CELL = ("recipe", "beta", "seed", "base_model", "method")

FACTS = (
    Fact(
        "cells_have_the_declared_columns",
        "The table has the columns that the command line, the report and other programs read.",
        (
            has_columns(
                ASSET,
                pair="VARCHAR",
                method="VARCHAR",
                recipe="VARCHAR",
                mode="VARCHAR",
                beta="DOUBLE",
                seed="BIGINT",
                base_model="VARCHAR",
                users="BIGINT",
                ratings="BIGINT",
                mae="DOUBLE",
                rmse="DOUBLE",
            ),
        ),
    ),
    Fact(
        "one_row_per_cell",
        "A β, seed, base model, recipe and method stands once, with errors that are numbers.",
        (
            unique(*CELL),
            no_rows(
                f"select {', '.join(CELL)}, mae, rmse from benchmark where mae is null or rmse is null "
                "or not isfinite(mae) or not isfinite(rmse)"
            ),
        ),
    ),
    Fact(
        "methods_of_a_split_share_their_test_ratings",
        "Under one β and seed every method is measured on as many users and ratings; else no two could be compared.",
        (
            no_rows(
                "select beta, seed, count(distinct (users, ratings)) as sets from benchmark "
                "group by beta, seed having sets > 1"
            ),
        ),
    ),
    Fact(
        "errors_of_users_add_up",
        "The errors kept for each user, on which all tests of significance stand, add up to each cell's MAE.",
        (
            no_rows(
                f"select {', '.join(CELL)}, mae, found from benchmark left join (select {', '.join(CELL)}, "
                "sum(absolute_error) / sum(ratings) as found from benchmark_errors group by all) as sums "
                f"using ({', '.join(CELL)}) where found is null or abs(found - mae) > 1e-6"
            ),
        ),
    ),
)


@dg.multi_asset_check(specs=specs(ASSET, FACTS, PAIRS), name="benchmark_checks")
def benchmark_checks(
    context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate a pair's benchmark."""
    from ptupcdr_dagster.checks.validation import validate_table

    yield from validate_table(Warehouse(home.warehouse).file(ASSET, context.partition_key), ASSET, ASSET, FACTS)
