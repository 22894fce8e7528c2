"""Facts about ``domain_splits``: what makes the cold-start measurement honest."""

from collections.abc import Iterator

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import Fact, has_columns, no_rows, specs, unique
from ptupcdr_dagster.partitions import PAIRS

ASSET = "domain_splits"
MAIN_TABLE = "split_users"

_COHORT_COUNTS = (
    "(select count_if(cohort = 'test') as test, count_if(cohort = 'validation') as validation, "
    "count_if(cohort = 'bridge') as bridge from split_users) as cohorts"
)

FACTS = (
    Fact(
        "splits_have_the_declared_columns",
        "The tables have the columns and types that the training reads.",
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
        "At least 10 users to learn a bridge from, and 2 each to choose the epoch and to measure with.",
        (no_rows(f"select * from {_COHORT_COUNTS} where bridge < 10 or validation < 2 or test < 2"),),
    ),
    Fact(
        "cohorts_are_disjoint",
        "Every user stands in exactly one cohort, and has ratings where that cohort says so.",
        (
            unique("user_id"),
            unique("user_index"),
            no_rows(
                "select * from split_users where cohort is null "
                "or cohort not in ('test', 'validation', 'bridge', 'cold', 'target_only')"
            ),
            no_rows(
                "select * from split_users "
                "where (cohort <> 'target_only') <> (user_index in (select user_index from split_source_ratings)) "
                "or (cohort <> 'cold') <> (user_index in (select user_index from split_target_ratings))"
            ),
        ),
    ),
    Fact(
        "beta_within_tolerance",
        "The share of overlapping users held out for testing is β, give or take 4 standard deviations.",
        (
            no_rows(
                "select *, overlapping * beta as expected from "
                "(select test, test + validation + bridge as overlapping, "
                f"(select beta from split_summary) as beta from {_COHORT_COUNTS}) as held_out "
                "where overlapping = 0 or abs(test - overlapping * beta) > 4 * sqrt(overlapping * beta * (1 - beta))"
            ),
        ),
    ),
    Fact(
        "no_test_user_in_target_training",
        "No target rating of a test or validation user is trained on, and each lies in the part of its cohort.",
        (
            no_rows(
                "select r.*, u.cohort from split_target_ratings as r join split_users as u using (user_index) "
                "where r.part is distinct from "
                "case when u.cohort in ('test', 'validation') then u.cohort else 'train' end"
            ),
        ),
    ),
    Fact(
        "histories_hold_known_source_items",
        "A history holds only source items that its user rated positively, in consecutive places.",
        (
            no_rows(
                "select h.* from split_histories as h "
                "left join split_source_ratings as r using (user_index, item_index) "
                "left join split_source_items as i using (item_index) "
                "where i.item_id is null or r.rating is distinct from h.rating "
                "or h.rating <= (select positive_above from split_summary)"
            ),
            no_rows(
                "select user_index from split_histories group by user_index "
                "having min(position) <> 0 or max(position) <> count(*) - 1 or count(distinct position) <> count(*) "
                "or count(*) > (select history_length from split_summary)"
            ),
        ),
    ),
    Fact(
        "indices_count_from_1",
        "Users and items are numbered 1, 2, 3, … without a gap: index 0 is padding and nothing else.",
        tuple(
            no_rows(
                f"select * from (select min({index}) as first, max({index}) as last, "
                f"count(distinct {index}) as amount, count(*) as entries from {table}) as numbers "
                "where first is distinct from 1 or last <> entries or amount <> entries"
            )
            for table, index in (
                ("split_users", "user_index"),
                ("split_source_items", "item_index"),
                ("split_target_items", "item_index"),
            )
        ),
    ),
    Fact(
        "item_ids_differ_between_domains",
        "No item id stands in both domains. Shared ids are often one catalogue listed under two categories; then the "
        "target is not really new to the user. They are still treated as different items.",
        (no_rows("select shared_item_ids from split_summary where shared_item_ids > 0"),),
        warning=True,
    ),
)


@dg.multi_asset_check(specs=specs(ASSET, FACTS, PAIRS), name="domain_splits_checks")
def domain_splits_checks(
    context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate one pair's cohorts, parts, vocabularies and histories."""
    from ptupcdr_dagster.checks.validation import validate_table

    yield from validate_table(Warehouse(home.warehouse).file(ASSET, context.partition_key), MAIN_TABLE, ASSET, FACTS)
