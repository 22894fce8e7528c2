"""Facts about ``benchmark``."""

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
        "A β, seed, base model, recipe and method stands once, with errors that are numbers.",
        (unique("recipe", "beta", "seed", "base_model", "method"),),
    ),
    Fact(
        "methods_of_a_split_share_their_test_ratings",
        "Under one β and seed every method is measured on as many users and ratings; else no two could be compared.",
    ),
    Fact(
        "errors_of_users_add_up",
        "The errors kept for each user, on which all tests of significance stand, add up to each cell's MAE.",
    ),
)

benchmark_checks = table_checks(ASSET, FACTS, optional=True)
