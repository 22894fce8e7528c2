"""What the bridged embeddings are for: measured predictions, and recommendations from what is then deployed."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.bridges import bridged_embeddings, meta_network
from ptupcdr_dagster.assets.pretraining import source_model, target_model
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    deps=[domain_splits, source_model, target_model, meta_network, bridged_embeddings],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"duckdb", "mlflow"},
    code_version=str(RESULTS["cold_start_evaluation"].version),
)
def cold_start_evaluation(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """MAE and RMSE of every method and simple baseline on the same held-out users, and the errors of each user."""
    from ptupcdr_core.stages.stages import evaluate_cold_start

    with stage(context, settings, home) as current:
        report = evaluate_cold_start(home, current.partition, current.settings, fingerprint=current.fingerprint)
        return current.report(report, table="cold_start_evaluation")


@dg.asset(
    # After the evaluation: what is fitted again knows the answers of the people whom it asks.
    deps=[domain_splits, source_model, target_model, meta_network, bridged_embeddings, cold_start_evaluation],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"numba", "duckdb"},
    code_version=str(RESULTS["deployed_model"].version),
)
def deployed_model(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """What recommendations come from: the evaluated models, or, with refit, the same ones fitted again on all users."""
    from ptupcdr_core.stages.deployment import deploy

    with stage(context, settings, home) as current:
        report = deploy(
            home,
            current.partition,
            current.settings,
            on_epoch=current.tracker.on_epoch,
            fingerprint=current.fingerprint,
        )
        return current.report(report, table="deployed_model")


@dg.asset(
    deps=[domain_splits, source_model, target_model, meta_network, bridged_embeddings, deployed_model],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"duckdb"},
    code_version=str(RESULTS["recommendations"].version),
)
def recommendations(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """The best target items for every cold-start user, in order, and the source items that each rests on."""
    from ptupcdr_core.stages.stages import recommend_cold_users

    with stage(context, settings, home) as current:
        report = recommend_cold_users(home, current.partition, current.settings, fingerprint=current.fingerprint)
        return current.report(report, table="recommendations")
