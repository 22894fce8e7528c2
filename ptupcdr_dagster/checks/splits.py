"""Facts about ``domain_splits``: what makes the cold-start measurement honest."""

from ptupcdr_core.store.bounds import bounds
from ptupcdr_dagster.checks.facts import Fact, facts_about, has_columns, table_checks, unique

ASSET = "domain_splits"
MAIN_TABLE = "split_users"

FACTS = facts_about(
    ASSET,
    Fact(
        "splits_have_the_declared_columns",
        "The tables have the columns and types that training reads.",
        (
            has_columns("split_users", pair="VARCHAR", user_index="INTEGER", user_id="VARCHAR", cohort="VARCHAR"),
            has_columns("split_source_ratings", user_index="INTEGER", item_index="INTEGER", rating="FLOAT"),
            has_columns(
                "split_target_ratings", user_index="INTEGER", item_index="INTEGER", rating="FLOAT", part="VARCHAR"
            ),
            has_columns("split_histories", user_index="INTEGER", position="INTEGER", item_index="INTEGER"),
        ),
    ),
    Fact(
        "enough_overlapping_users",
        "There are at least 10 bridge-training users, 2 validation users and 2 test users (bounds.toml).",
    ),
    Fact(
        "cohorts_are_disjoint",
        "Every user is in exactly one cohort, and has ratings in the domains that the cohort stands for.",
        (unique("user_id"), unique("user_index")),
    ),
    Fact(
        "beta_within_tolerance",
        "The share of overlapping users held out as test users is β, within 4 standard deviations (bounds.toml).",
    ),
    Fact(
        "no_test_user_in_target_training",
        "No target rating of a test or validation user is trained on; each is in the part of its user's cohort.",
    ),
    Fact(
        "histories_hold_known_source_items",
        "A history holds only source items that its user rated positively, in consecutive places.",
    ),
    Fact(
        "indices_count_from_1",
        "Users and items are numbered 1, 2, 3, … without a gap; index 0 is padding only.",
    ),
    Fact(
        "item_ids_differ_between_domains",
        "No item id occurs in both domains. Shared ids often mean one catalogue listed under two categories; then the "
        "target is not really new to the user. They are still treated as different items.",
        warning=True,
    ),
    Fact(
        "times_are_of_one_unit",
        "Timestamps of the two domains differ by less than a factor of 100; a larger one suggests milliseconds beside "
        "seconds. Write both in one unit: histories and warm-start splits are ordered by time.",
        warning=True,
    ),
)

domain_splits_checks = table_checks(
    ASSET, FACTS, table=MAIN_TABLE, parameters=lambda home, pair, settings: bounds()[ASSET]
)
