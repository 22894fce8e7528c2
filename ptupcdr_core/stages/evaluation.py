"""The stage that measures every method on the test users."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ptupcdr_core.data.pair_data import load_pair, user_ids
from ptupcdr_core.evaluation.cold_start import evaluate, evaluate_slices
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.modes.checkpoints import load_bridge_task, load_bridges
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_ranking_task
from ptupcdr_core.modes.ranking.cold_start import RANKING_COLUMNS, evaluate_rankings
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import write_tables
from ptupcdr_core.store.warehouse import Warehouse


def evaluate_cold_start(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Measure every method and baseline on the test users (asset ``cold_start_evaluation``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    data, ids = load_pair(warehouse, pair), user_ids(warehouse, pair)
    task = load_bridge_task(home, data)
    tgt = FittedMethod("tgt", task.target, lambda users: task.target_user_vectors[users])
    methods = [*simple_baselines(data), tgt, *load_bridges(home, data).methods(task)]
    summary, details = evaluate(data, methods, settings, ids)
    slices = evaluate_slices(data, methods, settings)
    shown = summary.sort_values("rmse")[["method", "users", "ratings", "mae", "rmse"]].round(4)
    metrics = {f"{name}_{row.method}": getattr(row, name) for row in summary.itertuples() for name in ("mae", "rmse")}
    report = StageReport(metrics, tables={"evaluation": shown})  # filled further below
    tables = {"cold_start_errors": details, "cold_start_slices": slices}
    if settings.ranks:
        rankings, by_user = evaluate_rankings(
            data, load_ranking_task(home, data), load_ranking_bridges(home, data), settings, ids
        )
        summary = pd.concat([summary, rankings], ignore_index=True)
        tables["cold_start_rankings"] = by_user
        metrics |= {f"ndcg_at_10_{row.method}": float(row.ndcg_at_10) for row in rankings.itertuples()}
        best_first = rankings.sort_values("ndcg_at_10", ascending=False)
        report.tables["rankings"] = best_first[["method", "users", *RANKING_COLUMNS]].round(4)
    else:
        summary = summary.assign(**dict.fromkeys(RANKING_COLUMNS, np.nan))
    tables["cold_start_evaluation"] = summary
    write_tables(warehouse, "cold_start_evaluation", pair, tables, settings, fingerprint)
    report.tables["mae_by_slice"] = _mae_by_slice(slices, shown["method"])
    return report


def _mae_by_slice(slices: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """One row a bucket, one column a method, in the given order."""
    bucket = ["slice", "at_least", "at_most", "users", "ratings"]
    wide = slices.pivot(index=bucket, columns="method", values="mae")
    return wide[[*methods]].round(4).reset_index()
