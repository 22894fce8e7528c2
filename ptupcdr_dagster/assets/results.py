"""What the bridged embeddings are for: measured predictions, and recommendations from what is then deployed."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.bridges import meta_network
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    deps=[meta_network],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"duckdb", "mlflow"},
    code_version=str(RESULTS["cold_start_evaluation"].version),
)
def cold_start_evaluation(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """MAE and RMSE of every method and simple baseline on the same held-out users, and the errors of each user."""
    from ptupcdr_core.stages.evaluation import evaluate_cold_start

    with stage(context, settings, home) as current:
        report = evaluate_cold_start(home, current.partition, current.settings, fingerprint=current.fingerprint)
        return current.report(report, table="cold_start_evaluation")


@dg.asset(
    # The split is read where models are fitted again.
    deps=["champion", domain_splits, meta_network],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"numba", "duckdb"},
    code_version=str(RESULTS["deployed_model"].version),
)
def deployed_model(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """The bundle that recommends: what passed the gate, with refit fitted again on all users, else what did before."""
    from ptupcdr_core.serving.deployed import cold_start_ratings, deployed_bundle
    from ptupcdr_core.stages.deployment import deploy
    from ptupcdr_dagster.tracking.registry import DEPLOYED, Registry

    with stage(context, settings, home) as current:
        report = deploy(
            home,
            current.partition,
            current.settings,
            on_epoch=current.tracker.on_epoch,
            fingerprint=current.fingerprint,
        )
        if report.files:
            registry = Registry(current.tracker.client, home, current.partition)
            people = cold_start_ratings(current.warehouse, current.partition)
            bundle = deployed_bundle(home, current.partition)
            registry.promote(registry.register(bundle, people, current.tracker, {}), DEPLOYED)
        return current.report(report, table="deployed_model")


@dg.asset(
    deps=[domain_splits, deployed_model],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"duckdb"},
    code_version=str(RESULTS["recommendations"].version),
)
def recommendations(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """The best target items for every cold-start user, in order, and the source items that each rests on."""
    from ptupcdr_core.stages.recommendations import recommend_cold_users

    with stage(context, settings, home) as current:
        report = recommend_cold_users(home, current.partition, current.settings, fingerprint=current.fingerprint)
        return current.report(report, table="recommendations")
