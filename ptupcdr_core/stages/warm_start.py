"""The warm-start stages of a pair: fine-tuned embeddings, and their evaluation."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, load_pair, user_ids
from ptupcdr_core.data.warm_split import KNOWN, Known, WarmSplit, load_warm_split
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.modes.base import WarmStart
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import embedding_column, embeddings_of, repeated, write_tables
from ptupcdr_core.store.warehouse import Warehouse

TUNED, EVALUATION = "fine_tuned_embeddings", "warm_start_evaluation"
_TEXTS = ("pair", "user_id", "mode", "known_ratings", "started_from")
_NOBODY = pa.schema([*[(name, pa.string()) for name in _TEXTS], ("known_count", pa.int32()),
                     ("embedding", pa.list_(pa.float32()))])  # fmt: skip
_NOTHING = pa.schema([*[(name, pa.string()) for name in ("pair", "method", "recipe", "mode", "known_ratings")],
                      *[(name, pa.int64()) for name in ("users", "ratings")],
                      *[(name, pa.float64()) for name in ("mae", "rmse")]])  # fmt: skip
"""Schemas of the empty tables of a run in which no mode uses first target ratings, such as lists alone."""


def fine_tune(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Tune the test users' bridged embeddings on their first target ratings (asset ``fine_tuned_embeddings``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    data, test, validation = _load(warehouse, pair)
    ids = user_ids(warehouse, data)[test.users]
    tables, report = [], StageReport({"users": float(len(ids))})
    for mode, warm in _warm(settings, data):
        bridged, made_by = _bridged(warehouse, pair, mode, ids)
        with one_thread():
            tuned = warm.fine_tune(home, data, settings, validation, test, bridged)
        report.metrics.update(tuned.metrics)
        for amount, embeddings in tuned.embeddings.items():
            columns = {
                "pair": repeated(pair, len(ids)),
                "user_id": pa.array(ids, pa.string()),
                "mode": repeated(mode, len(ids)),
                "known_ratings": repeated(amount, len(ids)),
                "known_count": pa.array(test.counts(amount), pa.int32()),
                "embedding": embedding_column(embeddings),
                "started_from": pa.array(made_by, pa.string()),
            }
            tables.append(pa.table(columns))
    table = pa.concat_tables(tables or [_NOBODY.empty_table()])
    write_tables(warehouse, TUNED, pair, {TUNED: table}, settings, fingerprint)
    return report


def evaluate_warm_start(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Compare the fine-tuned embeddings with other starts (asset ``warm_start_evaluation``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    data, test, validation = _load(warehouse, pair)
    ids, found = user_ids(warehouse, data), []
    for mode, warm in _warm(settings, data):
        tuned = _fine_tuned(warehouse, pair, mode, ids[test.users])
        with one_thread():
            found.append(warm.evaluate(home, data, settings, validation, test, tuned, ids))
    if not found:
        write_tables(warehouse, EVALUATION, pair, {EVALUATION: _NOTHING.empty_table()}, settings, fingerprint)
        return StageReport()
    summary, details = (pd.concat(tables, ignore_index=True) for tables in zip(*found, strict=True))
    tables = {EVALUATION: summary, "warm_start_errors": details}
    write_tables(warehouse, EVALUATION, pair, tables, settings, fingerprint)
    metrics = {f"rmse_{row.method}_{row.known_ratings}": float(row.rmse) for row in summary.itertuples()}
    return StageReport(metrics, tables={"mae": _curves(summary, "mae"), "rmse": _curves(summary, "rmse")})


def _load(warehouse: Warehouse, pair: str) -> tuple[PairData, WarmSplit, WarmSplit]:
    """The split, and its test and validation users' ratings in halves."""
    test, validation = (load_warm_split(warehouse, pair, part) for part in ("test", "validation"))
    return load_pair(warehouse, pair), test, validation


def _warm(settings: Settings, data: PairData) -> list[tuple[Mode, WarmStart]]:
    """The modes of a run that use first target ratings, and how; none where only lists are made."""
    return [(mode.name, mode.warm_start) for mode in modes_of(settings, data) if mode.warm_start is not None]


def _curves(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row a method, one column a number of known ratings."""
    wide = summary.pivot(index="method", columns="known_ratings", values=metric)[list(KNOWN)]
    return wide.sort_values("half").round(4).reset_index()


def _bridged(
    warehouse: Warehouse, pair: str, mode: Mode, ids: NDArray[np.object_]
) -> tuple[Floats, NDArray[np.object_]]:
    """(R, Y) the stored bridged embeddings of test users, and what made each."""
    with warehouse.read("bridged_embeddings", pair) as connection:
        connection.register("users", pa.table({"user_id": pa.array(ids, pa.string())}))
        table: pa.Table = connection.sql(
            "select user_id, embedding, made_by from bridged_embeddings semi join users using (user_id) "
            "where cohort = 'test' and mode = ? order by user_id",
            params=[mode],
        ).to_arrow_table()
    return _embeddings(table, ids, "bridged_embeddings", pair), np.asarray(table["made_by"].to_pylist(), dtype=object)


def _fine_tuned(warehouse: Warehouse, pair: str, mode: Mode, ids: NDArray[np.object_]) -> dict[Known, Floats]:
    """The stored embeddings (R, Y) of test users, by number of known ratings; for 0, the bridged ones."""
    found: dict[Known, Floats] = {"0": _bridged(warehouse, pair, mode, ids)[0]}
    with warehouse.read(TUNED, pair) as connection:
        for amount in KNOWN[1:]:
            table: pa.Table = connection.sql(
                "select user_id, embedding from fine_tuned_embeddings where mode = ? and known_ratings = ? "
                "order by user_id",
                params=[mode, amount],
            ).to_arrow_table()
            found[amount] = _embeddings(table, ids, TUNED, pair)
    return found


def _embeddings(table: pa.Table, ids: NDArray[np.object_], asset: str, pair: str) -> Floats:
    """(R, Y) float32.

    Raises:
        WarehouseError: they are not those of the present split's test users.
    """
    if table["user_id"].to_pylist() != ids.tolist():
        raise WarehouseError(f"{asset} of {pair} has other test users than the present split: materialize it again")
    return embeddings_of(table)
