"""The warm-start stages of a pair: fine-tuned embeddings, and what they are worth. See ``stages``."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import load_pair, user_ids
from ptupcdr_core.data.warm_split import KNOWN, Known, load_warm_split
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.modes.checkpoints import load_bridge_task, load_bridges, load_model
from ptupcdr_core.modes.rating.warm_start import evaluate_warm, stored_method, warm_methods
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import embedding_column, embeddings_of, repeated, write_tables
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.fine_tuning import choose_tuning, tunings


def fine_tune(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Tune the test users' bridged embeddings on their first target ratings (asset ``fine_tuned_embeddings``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    data = load_pair(warehouse, pair)
    task = load_bridge_task(home, data)
    test, validation = (load_warm_split(warehouse, pair, part) for part in ("test", "validation"))
    start = load_bridges(home, data).personal.embed(task, validation.users)
    chosen = choose_tuning(tunings(task, settings), start, task.target, validation, data.target_scale)
    ids = user_ids(warehouse, pair)[test.users]
    bridged, made_by = _bridged(warehouse, pair, ids)
    tables = []
    for amount, tuning in chosen.items():
        known = test.known(amount)
        embeddings = tuning(bridged, task.target, test.rows(known), known)
        columns = {
            "pair": repeated(pair, len(ids)),
            "user_id": pa.array(ids, pa.string()),
            "mode": repeated("rating", len(ids)),
            "known_ratings": repeated(amount, len(ids)),
            "known_count": pa.array(test.counts(amount), pa.int32()),
            "embedding": embedding_column(embeddings),
            "started_from": pa.array(made_by, pa.string()),
        }
        tables.append(pa.table(columns))
    asset = "fine_tuned_embeddings"
    write_tables(warehouse, asset, pair, {asset: pa.concat_tables(tables)}, settings, fingerprint)
    numbers = {
        f"{name}_{amount}": value for amount, tuning in chosen.items() for name, value in tuning.numbers().items()
    }
    return StageReport({"users": float(len(ids)), **numbers})


def evaluate_warm_start(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Measure the fine-tuned embeddings beside other ways to start (asset ``warm_start_evaluation``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    data = load_pair(warehouse, pair)
    task = load_bridge_task(home, data)
    test, validation = (load_warm_split(warehouse, pair, part) for part in ("test", "validation"))
    bridges = [method for method in load_bridges(home, data).methods(task) if method.name != "ptupcdr"]
    model = load_model(home, pair, "target", data.vocabulary)
    ids = user_ids(warehouse, pair)
    stored = stored_method("ptupcdr", task.target, _fine_tuned(warehouse, pair, ids[test.users]))
    methods = [*warm_methods(data, task, bridges, model, validation, settings), stored]
    summary, details = evaluate_warm(data, methods, test, settings, ids)
    tables = {"warm_start_evaluation": summary, "warm_start_errors": details}
    write_tables(warehouse, "warm_start_evaluation", pair, tables, settings, fingerprint)
    metrics = {f"rmse_{row.method}_{row.known_ratings}": float(row.rmse) for row in summary.itertuples()}
    return StageReport(metrics, tables={"mae": _curves(summary, "mae"), "rmse": _curves(summary, "rmse")})


def _curves(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row a method, one column a number of known ratings."""
    wide = summary.pivot(index="method", columns="known_ratings", values=metric)[list(KNOWN)]
    return wide.sort_values("half").round(4).reset_index()


def _bridged(warehouse: Warehouse, pair: str, ids: NDArray[np.object_]) -> tuple[Floats, NDArray[np.object_]]:
    """(R, Y) the stored bridged embeddings of test users, and what made each."""
    with warehouse.read("bridged_embeddings", pair) as connection:
        table: pa.Table = connection.sql(
            "select user_id, embedding, made_by from bridged_embeddings where cohort = 'test' and mode = 'rating' "
            "order by user_id"
        ).to_arrow_table()
    return _embeddings(table, ids, "bridged_embeddings", pair), np.asarray(table["made_by"].to_pylist(), dtype=object)


def _fine_tuned(warehouse: Warehouse, pair: str, ids: NDArray[np.object_]) -> dict[Known, Floats]:
    """The stored embeddings (R, Y) of test users, by number of known ratings; with none it is the bridged one."""
    found: dict[Known, Floats] = {"0": _bridged(warehouse, pair, ids)[0]}
    with warehouse.read("fine_tuned_embeddings", pair) as connection:
        for amount in KNOWN[1:]:
            table: pa.Table = connection.sql(
                "select user_id, embedding from fine_tuned_embeddings where mode = 'rating' and known_ratings = ? "
                "order by user_id",
                params=[amount],
            ).to_arrow_table()
            found[amount] = _embeddings(table, ids, "fine_tuned_embeddings", pair)
    return found


def _embeddings(table: pa.Table, ids: NDArray[np.object_], asset: str, pair: str) -> Floats:
    """(R, Y) float32.

    Raises:
        WarehouseError: they are not those of the present split's test users.
    """
    if table["user_id"].to_pylist() != ids.tolist():
        raise WarehouseError(f"{asset} of {pair} has other test users than the present split: materialize it again")
    return embeddings_of(table)
