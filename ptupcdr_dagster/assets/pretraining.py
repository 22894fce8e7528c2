"""Embeddings of each domain, from that domain's ratings alone."""

from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset


@stage_asset(deps=[domain_splits], group="models", kinds={"numba", "mlflow"})
def source_model(stage: Stage) -> Materialized:
    """User and item embeddings of the source domain, from all its ratings."""
    return stage.run(stage.engine.pretrain, side="source", on_epoch=stage.tracker.on_epoch)


@stage_asset(deps=[domain_splits], group="models", kinds={"numba", "mlflow"})
def target_model(stage: Stage) -> Materialized:
    """User and item embeddings of the target domain, without any rating of test or validation users."""
    return stage.run(stage.engine.pretrain, side="target", on_epoch=stage.tracker.on_epoch)
