"""Warm start: bridged embeddings fine-tuned on the first target ratings, and what that is worth."""

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
    group_name="warm_start",
    kinds={"numpy", "duckdb"},
    code_version=str(RESULTS["fine_tuned_embeddings"].version),
)
def fine_tuned_embeddings(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """The bridged embedding of every test user, fine-tuned on the first 1, 2, 4, 8 or half of the target ratings."""
    from ptupcdr_core.stages.warm_start import fine_tune

    with stage(context, settings, home) as current:
        report = fine_tune(home, current.partition, current.settings, fingerprint=current.fingerprint)
        return current.report(report, table="fine_tuned_embeddings")


@dg.asset(
    deps=[domain_splits, source_model, target_model, meta_network, bridged_embeddings, fine_tuned_embeddings],
    partitions_def=PAIRS,
    group_name="warm_start",
    kinds={"duckdb", "mlflow"},
    code_version=str(RESULTS["warm_start_evaluation"].version),
)
def warm_start_evaluation(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """MAE and RMSE on the second half of test users' target ratings, by where fine-tuning starts and what is known."""
    from ptupcdr_core.stages.warm_start import evaluate_warm_start

    with stage(context, settings, home) as current:
        report = evaluate_warm_start(home, current.partition, current.settings, fingerprint=current.fingerprint)
        return current.report(report, table="warm_start_evaluation")
