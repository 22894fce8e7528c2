"""The bridges from source to target, and the embeddings they give to cold-start users."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.pretraining import source_model, target_model
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    deps=[domain_splits, source_model, target_model],
    partitions_def=PAIRS,
    group_name="models",
    kinds={"torch", "mlflow"},
    code_version=str(RESULTS["meta_network"].version),
)
def meta_network(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """The meta network that writes a personal bridge for each user, and the common bridge as its baseline."""
    from ptupcdr_core.stages.stages import train_bridges

    with stage(context, settings, home) as current:
        return current.report(
            train_bridges(
                home,
                current.partition,
                current.settings,
                on_epoch=current.tracker.on_epoch,
                fingerprint=current.fingerprint,
            )
        )


@dg.asset(
    deps=[domain_splits, source_model, target_model, meta_network],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"torch", "duckdb"},
    code_version=str(RESULTS["bridged_embeddings"].version),
)
def bridged_embeddings(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """A target-domain embedding for every cold-start user, real (cohort cold) or held out (cohort test)."""
    from ptupcdr_core.stages.stages import bridge_cold_users

    with stage(context, settings, home) as current:
        report = bridge_cold_users(home, current.partition, current.settings, fingerprint=current.fingerprint)
        return current.report(report, table="bridged_embeddings")
