"""What is deployed, and what it recommends."""

from typing import TYPE_CHECKING

import dagster as dg

from ptupcdr_dagster.assets.bridges import meta_network
from ptupcdr_dagster.assets.champion import champion
from ptupcdr_dagster.assets.items import pair_items
from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset
from ptupcdr_dagster.partitions import DOMAIN_TO_PAIRS
from ptupcdr_dagster.tracking.runs import StageTracker

if TYPE_CHECKING:
    import pandas as pd

    from ptupcdr_core.data.pair_data import Side
    from ptupcdr_core.sources.items import Items
    from ptupcdr_core.store.warehouse import Warehouse


@stage_asset(
    # The split is read where models are fitted again.
    deps=[domain_splits, meta_network, champion],
    group="cold_start",
    kinds={"numba", "duckdb"},
)
def deployed_model(stage: Stage) -> Materialized:
    """The bundle that recommends: what passed the gate last, fitted again on all users if refit is set."""
    from ptupcdr_core.serving.deployed import cold_start_ratings, deployed_bundle
    from ptupcdr_core.stages.deployment import deploy
    from ptupcdr_dagster.tracking.registry import DEPLOYED, Registry

    home, pair, tracker = stage.home, stage.partition, stage.tracker
    report = deploy(home, pair, stage.settings, tracker.on_epoch, stage.fingerprint, pair_items(pair))
    if report.files:
        people = cold_start_ratings(stage.warehouse, pair)

        def register(run: StageTracker) -> None:
            registry = Registry(run.client, home, pair)
            registry.promote(registry.register(deployed_bundle(home, pair), people, run, {}), DEPLOYED)

        tracker.do(register)
    return stage.report(report)


@stage_asset(
    # Not the split: people are read as they are today, so that lists can be made again without training.
    deps=[dg.AssetDep(raw_ratings, partition_mapping=DOMAIN_TO_PAIRS), deployed_model],
    group="cold_start",
    kinds={"duckdb"},
    scored=True,
)
def recommendations(stage: Stage) -> Materialized:
    """The best target items for all users who are cold-start today, best first, each with the source items behind it.

    The job score_pair and `ptupcdr score` make these without training.
    """
    known = pair_items(stage.partition)
    made = stage.engine.recommend_cold_users(
        stage.home, stage.partition, stage.settings, stage.fingerprint, known["target"]
    )
    made.tables["some_lists"] = some_lists(stage.warehouse, stage.partition, known)
    return stage.report(made)


def some_lists(warehouse: "Warehouse", pair: str, known: "dict[Side, Items]") -> "pd.DataFrame":
    """The first few lists to look at, items and reasons by title."""
    with warehouse.read("recommendations", pair) as connection:
        rows = connection.execute(
            "select dense_rank() over (order by user_id) as person, "  # no user id: Dagster's log is never erased
            "* exclude (pair, user_id, cohort, mode, made_by, bridged, reason_weights) "
            "from recommendations order by user_id, rank limit 20"
        ).fetchdf()
    reasons = [", ".join(known["source"].title(item) for item in items) for items in rows["reasons"]]
    return rows.assign(title=rows["title"].fillna(rows["item_id"]), reasons=reasons)
