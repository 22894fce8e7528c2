"""The bridges from source to target, and the embeddings they give to cold-start users."""

from ptupcdr_dagster.assets.pretraining import source_model, target_model
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset


@stage_asset(deps=[source_model, target_model], group="models", kinds={"torch", "mlflow"})
def meta_network(stage: Stage) -> Materialized:
    """The meta network that writes a personal bridge for each user, and the common bridge as its baseline."""
    from ptupcdr_core.stages.bridges import train_bridges

    return stage.run(train_bridges, on_epoch=stage.tracker.on_epoch)


@stage_asset(deps=[meta_network], group="cold_start", kinds={"torch", "duckdb"})
def bridged_embeddings(stage: Stage) -> Materialized:
    """A target-domain embedding for every cold-start user, real (cohort cold) or held out (cohort test)."""
    return stage.run(stage.engine.bridge_cold_users)
