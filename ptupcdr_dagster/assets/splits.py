"""The cold-start split of one pair of domains."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.metadata import counts_table
from ptupcdr_dagster.partitions import CATALOG, DOMAIN_TO_PAIRS, PAIRS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    deps=[dg.AssetDep(raw_ratings, partition_mapping=DOMAIN_TO_PAIRS)],
    partitions_def=PAIRS,
    group_name="splits",
    kinds={"duckdb"},
    code_version=str(RESULTS["domain_splits"].version),
)
def domain_splits(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """Vocabularies, cohorts (test, validation, bridge, cold, target_only), what may be trained on, and histories."""
    from ptupcdr_core.data.splits import build_split

    with stage(context, settings, home) as current:
        pair = CATALOG.pair(current.partition)
        source, target = CATALOG.domain(pair.source), CATALOG.domain(pair.target)
        report = build_split(pair, source, target, current.warehouse, current.settings, current.fingerprint)
        current.tracker.log_metrics({f"{cohort}_users": count for cohort, count in report.users.items()})
        current.tracker.log_metrics({f"target_{part}_ratings": n for part, n in report.target_ratings.items()})
        current.log_split()
        return current.result(
            {
                "users": counts_table(report.users, "cohort"),
                "target_ratings": counts_table(report.target_ratings, "part"),
                "source_items": report.source_items,
                "target_items": report.target_items,
                "shared_item_ids": report.shared_item_ids,
            },
            table="split_users",
        )
