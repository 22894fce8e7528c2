"""What is deployed, and what it recommends."""

import dagster as dg

from ptupcdr_dagster.assets.bridges import meta_network
from ptupcdr_dagster.assets.champion import champion
from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset
from ptupcdr_dagster.partitions import DOMAIN_TO_PAIRS
from ptupcdr_dagster.tracking.runs import StageTracker


@stage_asset(
    # The split is read where models are fitted again.
    deps=[domain_splits, meta_network, champion],
    group="cold_start",
    kinds={"numba", "duckdb"},
)
def deployed_model(stage: Stage) -> Materialized:
    """The bundle that recommends: what passed the gate, with refit fitted again on all users, else what did before."""
    from ptupcdr_core.serving.deployed import cold_start_ratings, deployed_bundle
    from ptupcdr_core.stages.deployment import deploy
    from ptupcdr_dagster.tracking.registry import DEPLOYED, Registry

    home, pair, tracker = stage.home, stage.partition, stage.tracker
    report = deploy(home, pair, stage.settings, on_epoch=tracker.on_epoch, fingerprint=stage.fingerprint)
    if report.files:
        people = cold_start_ratings(stage.warehouse, pair)

        def register(run: StageTracker) -> None:
            registry = Registry(run.client, home, pair)
            registry.promote(registry.register(deployed_bundle(home, pair), people, run, {}), DEPLOYED)

        tracker.do(register)
    return stage.report(report)


@stage_asset(
    # Not the split: people are read as they are today, so that lists can be made again without a training.
    deps=[dg.AssetDep(raw_ratings, partition_mapping=DOMAIN_TO_PAIRS), deployed_model],
    group="cold_start",
    kinds={"duckdb"},
    scored=True,
)
def recommendations(stage: Stage) -> Materialized:
    """The best target items for everybody who is cold-start today, in order, and the source items that each rests on.

    Made without training by the job score_pair and `ptupcdr score`.
    """
    from ptupcdr_core.stages.recommendations import recommend_cold_users

    return stage.run(recommend_cold_users)
