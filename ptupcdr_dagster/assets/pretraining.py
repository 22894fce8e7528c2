"""Embeddings of either domain from that domain's ratings alone."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    deps=[domain_splits],
    partitions_def=PAIRS,
    group_name="models",
    kinds={"numba", "mlflow"},
    code_version=str(RESULTS["source_model"].version),
)
def source_model(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """User and item embeddings of the source domain, from all its ratings."""
    from ptupcdr_core.stages.stages import pretrain

    with stage(context, settings, home) as current:
        return current.report(
            pretrain(
                home,
                current.partition,
                "source",
                current.settings,
                on_epoch=current.tracker.on_epoch,
                fingerprint=current.fingerprint,
            )
        )


@dg.asset(
    deps=[domain_splits],
    partitions_def=PAIRS,
    group_name="models",
    kinds={"numba", "mlflow"},
    code_version=str(RESULTS["target_model"].version),
)
def target_model(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """User and item embeddings of the target domain, without any rating of test or validation users."""
    from ptupcdr_core.stages.stages import pretrain

    with stage(context, settings, home) as current:
        return current.report(
            pretrain(
                home,
                current.partition,
                "target",
                current.settings,
                on_epoch=current.tracker.on_epoch,
                fingerprint=current.fingerprint,
            )
        )
