"""What a pair's report is made from, read from the warehouse and the checkpoints; optional tables may be missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ptupcdr_core.data.pair_data import PairData, load_pair
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.evaluation.significance import METRICS, PairedErrors, bootstrap, pair_errors
from ptupcdr_core.modes.rating.checkpoints import load_task_and_bridges
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.artifacts import read_manifest
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.bridging import Bridges
from ptupcdr_core.training.task import BridgeTask

Curve = list[tuple[int, float]]
"""(epoch, value)."""


@dataclass(frozen=True)
class Facts:
    """Everything the sections read.

    Args:
        pair: its key.
        data: its split.
        task: the frozen vectors of both sides.
        bridges: what was trained between them.
        scores: one row a method: method, mae, rmse with the ends of their 95 % intervals (mae_low, mae_high, …).
        errors: the methods' errors by user.
        labels: recipe, beta, seed, base_model, users, ratings of the evaluation.
        slices: the table ``cold_start_slices``; empty where it was never written.
        reliability: the table ``cold_start_reliability``; empty where predictions are not calibrated.
        curves: by asset and metric; empty for checkpoints that keep none.
        benchmark: the table ``benchmark``, or None.
        warm_start: the table ``warm_start_evaluation``, or None.
        rankings: the rows of ``cold_start_evaluation`` on ranked lists, or None.
    """

    pair: str
    data: PairData
    task: BridgeTask
    bridges: Bridges
    scores: pd.DataFrame
    errors: PairedErrors
    labels: Mapping[str, Any]
    slices: pd.DataFrame
    reliability: pd.DataFrame
    curves: dict[str, dict[str, Curve]]
    benchmark: pd.DataFrame | None
    warm_start: pd.DataFrame | None
    rankings: pd.DataFrame | None


def gather(home: Home, pair: str) -> Facts:
    """Read what a pair's runs have left.

    Raises:
        WarehouseError: the pair has not been split or evaluated.
        ArtifactError: its models are missing or belong to another split.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    data = load_pair(warehouse, pair)
    evaluation = _table(warehouse, pair, "cold_start_evaluation", "cold_start_evaluation")
    details = _table(warehouse, pair, "cold_start_evaluation", "cold_start_errors")
    assert evaluation is not None
    assert details is not None
    errors, (task, bridges) = pair_errors(details), load_task_and_bridges(home, data)
    return Facts(
        pair=pair,
        data=data,
        task=task,
        bridges=bridges,
        scores=score_intervals(errors),
        errors=errors,
        labels=evaluation.iloc[0].to_dict(),
        slices=_optional(warehouse, pair, "cold_start_evaluation", "cold_start_slices", default=pd.DataFrame()),
        reliability=_optional(
            warehouse, pair, "cold_start_evaluation", "cold_start_reliability", default=pd.DataFrame()
        ),
        curves={
            asset: read_manifest(home.models / asset, pair).get("curves", {})
            for asset in ("source_model", "target_model", "meta_network")
        },
        benchmark=_optional(warehouse, pair, "benchmark", "benchmark"),
        warm_start=_optional(warehouse, pair, "warm_start_evaluation", "warm_start_evaluation"),
        rankings=_optional(warehouse, pair, "cold_start_evaluation", "cold_start_evaluation", mode="ranking"),
    )


def score_intervals(errors: PairedErrors) -> pd.DataFrame:
    """MAE and RMSE of every method with the ends of their 95 % bootstrap intervals, lowest RMSE first."""
    measured, drawn = errors.measures(np.ones((len(errors.counts), 1))), bootstrap(errors)
    columns: dict[str, Any] = {"method": errors.methods}
    for metric in METRICS:
        columns[metric] = measured[metric][:, 0]
        columns[f"{metric}_low"], columns[f"{metric}_high"] = np.quantile(drawn[metric], [0.025, 0.975], axis=1)
    return pd.DataFrame(columns).sort_values("rmse", ignore_index=True)


def _optional(
    warehouse: Warehouse, pair: str, asset: str, table: str, default: Any = None, mode: Mode = "rating"
) -> Any:
    """A table that need not be there."""
    try:
        found = _table(warehouse, pair, asset, table, mode)
    except WarehouseError:
        return default
    return default if found is None or found.empty else found


def _table(warehouse: Warehouse, pair: str, asset: str, table: str, mode: Mode = "rating") -> pd.DataFrame | None:
    """A table's rows of a mode; None where the file has no such table."""
    with warehouse.read(asset, pair) as connection:
        [(there,)] = connection.execute(
            "select count(*) from duckdb_tables() where database_name = current_database() and table_name = ?", [table]
        ).fetchall()
        if not there:
            return None
        frame: pd.DataFrame = connection.table(table).fetchdf()
    return frame[frame["mode"] == mode] if "mode" in frame else frame
