"""Which model of a pair is in use: the newest one if it has earned it, else the one before."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.bridges import bridged_embeddings, meta_network
from ptupcdr_dagster.assets.pretraining import source_model, target_model
from ptupcdr_dagster.assets.results import cold_start_evaluation
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.metadata import frame_table
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    deps=[domain_splits, source_model, target_model, meta_network, bridged_embeddings, cold_start_evaluation],
    partitions_def=PAIRS,
    group_name="cold_start",
    kinds={"mlflow", "duckdb"},
    code_version=str(RESULTS["champion"].version),
)
def champion(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """The model in MLflow's registry that is in use: the new one, if its ratings and lists are as good as others'."""
    from ptupcdr_core.errors import ArtifactError
    from ptupcdr_core.gate.decision import Models, decide, write_decision
    from ptupcdr_core.serving.snapshot import Snapshot
    from ptupcdr_dagster.tracking.registry import Registry

    with stage(context, settings, home) as current:
        pair, chosen, tracker = current.partition, current.settings, current.tracker
        registry = Registry(tracker.client, home, pair)
        candidate, before = {mode: Snapshot.take(home, pair, mode) for mode in chosen.modes}, registry.champion()
        described = {name: str(getattr(chosen, name)) for name in ("recipe", "mode", "base_model", "beta", "seed")}
        version = registry.register(candidate, current.fingerprint, tracker, described)
        other: Models = {}
        note = ""
        if before is not None and before != version:
            try:
                other = registry.load(before)
            except ArtifactError as error:
                note = f"the champion cannot be compared: {error}"
        decision = decide(home, pair, candidate, other, note)
        if decision.promoted:
            registry.promote(version)
        now = registry.champion()
        tags = {"ptupcdr.promoted": str(decision.promoted).lower(), "ptupcdr.reason": decision.reason}
        tags |= {f"ptupcdr.{name}": f"{value:.4f}" for name, value in decision.own.items()}
        registry.tag(version, tags)
        tracker.tag(tags | {"ptupcdr.model": f"{registry.name}/{version}"})
        current.log_split()
        others = {f"{c.criterion.metric}_{c.against}": c.other for c in decision.comparisons}
        tracker.log_metrics({**decision.own, **others, "promoted": decision.promoted})
        write_decision(
            home,
            pair,
            decision,
            chosen,
            model=registry.name,
            version=version,
            champion=now,
            fingerprint=current.fingerprint,
        )
        shown = {"comparisons": frame_table(decision.table()), "decision": decision.reason}
        use = "none yet" if now is None else f"models:/{registry.name}@champion, version {now}"
        return current.result({**shown, "version": version, "in_use": use}, table="champion")
