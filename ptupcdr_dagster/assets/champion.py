"""Which model of a pair is in use: the newest one if it passes the gate, else the one before."""

from dataclasses import replace

from ptupcdr_dagster.assets.bridges import meta_network
from ptupcdr_dagster.assets.evaluation import cold_start_evaluation
from ptupcdr_dagster.assets.items import pair_items
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset
from ptupcdr_dagster.metadata import frame_table
from ptupcdr_dagster.tracking.runs import StageTracker


@stage_asset(deps=[domain_splits, meta_network, cold_start_evaluation], group="cold_start", kinds={"mlflow", "duckdb"})
def champion(stage: Stage) -> Materialized:
    """The bundle that may serve: the new one in each mode in which it passes the gate, else the one before."""
    from ptupcdr_core.evaluation.beyond_accuracy import COLUMNS
    from ptupcdr_core.experiments.readout import read_evaluation
    from ptupcdr_core.gate.decision import judge, keep_verdict
    from ptupcdr_core.serving.deployed import CHAMPION, cold_start_ratings
    from ptupcdr_dagster.tracking.pipeline import log_main
    from ptupcdr_dagster.tracking.registry import Registry

    home, pair, chosen, tracker = stage.home, stage.partition, stage.settings, stage.tracker
    verdict = judge(home, pair, stage.fingerprint)
    decision = verdict.decision
    people, known = cold_start_ratings(stage.warehouse, pair), pair_items(pair)
    described = {name: str(getattr(chosen, name)) for name in ("recipe", "mode", "base_model", "beta", "seed")}
    tags = {"ptupcdr.promoted": str(decision.promoted).lower(), "ptupcdr.reason": decision.reason}
    tags |= {f"ptupcdr.{name}": f"{value:.4f}" for name, value in decision.own.items()}

    def register(run: StageTracker) -> tuple[str, str, str | None]:
        registry = Registry(run.client, home, pair)
        version = registry.register(replace(verdict.candidate, items=known), people, run, described)
        if verdict.serving:
            registry.promote(registry.register(replace(verdict.serving, items=known), people, run, described))
        registry.tag(version, tags)
        registry.describe(version, decision.own, decision.reason, rated=verdict.candidate.rated)
        return registry.name, version, registry.version_of(CHAMPION)

    name, version, now = tracker.do(register)
    tracker.tag(tags | {"ptupcdr.model": f"{name}/{version}"})
    stage.log_split()
    others = {f"{c.criterion.metric}_{c.against}": c.other for c in decision.comparisons}
    numbers = {**decision.own, **others, "promoted": decision.promoted}
    tracker.log_metrics(numbers)
    log_main(tracker, numbers)
    keep_verdict(
        home,
        pair,
        verdict,
        chosen,
        model=name,
        version=version,
        champion=now,
        fingerprint=stage.fingerprint,
    )
    shown = {"comparisons": frame_table(decision.table()), "decision": decision.reason}
    evaluated = read_evaluation(home, pair)
    lists = evaluated[(evaluated["mode"] == "ranking") & evaluated["method"].isin(["ptupcdr", "popularity"])]
    if len(lists):  # coverage, diversity and the like of the new lists, beside those of popular items
        shown["lists"] = frame_table(lists[["method", "ndcg_at_10", *COLUMNS]].round(4))
    use = "none yet" if now is None else f"models:/{name}@champion, version {now}"
    return stage.result({**shown, "version": version, "in_use": use})
