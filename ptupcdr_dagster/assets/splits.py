"""The cold-start split of one pair of domains."""

import dagster as dg

from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset
from ptupcdr_dagster.metadata import counts_table
from ptupcdr_dagster.partitions import CATALOG, DOMAIN_TO_PAIRS


@stage_asset(
    deps=[dg.AssetDep(raw_ratings, partition_mapping=DOMAIN_TO_PAIRS)],
    group="splits",
    kinds={"duckdb"},
)
def domain_splits(stage: Stage) -> Materialized:
    """Vocabularies, cohorts (test, validation, bridge, cold, target_only), training ratings, and histories."""
    pair = CATALOG.pair(stage.partition)
    source, target = CATALOG.domain(pair.source), CATALOG.domain(pair.target)
    report = stage.engine.build_split(pair, source, target, stage.warehouse, stage.settings, stage.fingerprint)
    stage.tracker.log_metrics({f"{cohort}_users": count for cohort, count in report.users.items()})
    stage.tracker.log_metrics({f"target_{part}_ratings": n for part, n in report.target_ratings.items()})
    stage.log_split()
    return stage.result(
        {
            "users": counts_table(report.users, "cohort"),
            "target_ratings": counts_table(report.target_ratings, "part"),
            "source_items": report.source_items,
            "target_items": report.target_items,
            "shared_item_ids": report.shared_item_ids,
            "overlapping_people_read": report.overlapping_read,
            "other_people_read": report.others_read,
        },
        table="split_users",
    )
