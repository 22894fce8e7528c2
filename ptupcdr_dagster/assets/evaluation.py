"""How good the bridges are for users who are new in the target."""

from ptupcdr_dagster.assets.bridges import meta_network
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset


@stage_asset(deps=[meta_network], group="cold_start", kinds={"duckdb", "mlflow"})
def cold_start_evaluation(stage: Stage) -> Materialized:
    """MAE and RMSE of every method and simple baseline on the same held-out users, and the errors of each user."""
    from ptupcdr_core.stages.evaluation import evaluate_cold_start

    return stage.run(evaluate_cold_start)
