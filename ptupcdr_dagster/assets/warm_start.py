"""Warm start: bridged embeddings fine-tuned on a user's first target ratings, and how much that helps."""

from ptupcdr_dagster.assets.bridges import bridged_embeddings, meta_network
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset


@stage_asset(
    deps=[meta_network, bridged_embeddings],
    group="warm_start",
    kinds={"numpy", "duckdb"},
)
def fine_tuned_embeddings(stage: Stage) -> Materialized:
    """The bridged embedding of every test user, fine-tuned on the first 1, 2, 4, 8 or half of their target ratings."""
    from ptupcdr_core.stages.warm_start import fine_tune

    return stage.run(fine_tune)


@stage_asset(
    deps=[meta_network, fine_tuned_embeddings],
    group="warm_start",
    kinds={"duckdb", "mlflow"},
)
def warm_start_evaluation(stage: Stage) -> Materialized:
    """MAE and RMSE on the second half of test users' target ratings, by start of tuning and number of known ratings."""
    from ptupcdr_core.stages.warm_start import evaluate_warm_start

    return stage.run(evaluate_warm_start)
