"""Facts about ``benchmark``."""

from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import Fact, facts_about, has_columns, table_checks, unique

ASSET = "benchmark"

FACTS = facts_about(
    ASSET,
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
        "Each combination of β, seed, base model, recipe and method has one row, and its errors are numbers.",
        (unique("recipe", "beta", "seed", "base_model", "method"),),
    ),
    Fact(
        "methods_of_a_split_share_their_test_ratings",
        "For one β and seed, every method is measured on the same number of users and ratings; otherwise no two could "
        "be compared.",
    ),
    Fact(
        "errors_of_users_add_up",
        "The errors kept for each user, which all tests of significance use, add up to each cell's MAE.",
    ),
    Fact(
        "lists_of_users_add_up",
        "The measures kept for each user's list average to what the table of lists says.",
    ),
)

_NO_LISTS = "(select 0.0 as beta, 0 as seed, '' as method, 0.0 as ndcg_at_10 where false)"


def lists_of(warehouse: Warehouse, pair: str) -> dict[str, str]:
    """Where queries find lists; a benchmark made by an older version has none."""
    tables = {"lists": "benchmark_lists", "rankings": "benchmark_rankings"}
    with warehouse.read(ASSET, pair) as connection:
        there = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
    return {name: table if table in there else _NO_LISTS for name, table in tables.items()}


benchmark_checks = table_checks(
    ASSET, FACTS, parameters=lambda home, pair, settings: lists_of(Warehouse(home.warehouse), pair), optional=True
)
