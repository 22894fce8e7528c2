"""The stages of a pair, from its split to recommendations: each reads what earlier ones left and leaves its own.

An orchestrator calls one function an asset. Tables go to the warehouse, models to checkpoints under ``home.models``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ptupcdr_core.approximate import approximate_top_items, recall
from ptupcdr_core.checkpoints import Side, base_weights, load_bridge_task, load_bridges, save_model
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.evaluation.cold_start import evaluate, evaluate_slices
from ptupcdr_core.home import Home
from ptupcdr_core.methods.method import FittedMethod
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.scorer import TargetItems
from ptupcdr_core.pair_data import Floats, Index, PairData, load_outline, load_pair, user_ids
from ptupcdr_core.people import people_of
from ptupcdr_core.recommending import Ids, recommendation_rows, small_blocks
from ptupcdr_core.serving import load_serving
from ptupcdr_core.settings import Settings
from ptupcdr_core.top_items import Block, top_items
from ptupcdr_core.training.bridging import train_bridges as fit_bridges
from ptupcdr_core.training.epochs import OnEpoch
from ptupcdr_core.training.pretraining import train_base_model
from ptupcdr_core.warehouse import Warehouse


@dataclass(frozen=True)
class StageReport:
    """What a stage tells of itself.

    Args:
        metrics: numbers by name.
        curves: a metric's value after each epoch, by name.
        files: the checkpoint's files.
        tables: small tables to show.
    """

    metrics: dict[str, float]
    curves: dict[str, list[float]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


def pretrain(
    home: Home, pair: str, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str = ""
) -> StageReport:
    """Train one side's base model and save its checkpoint (asset ``source_model`` or ``target_model``).

    Raises:
        SettingsError: the setting is ``published_test_best``: what serves users may not be chosen on test users.
    """
    if settings.setting == "published_test_best":
        raise SettingsError(
            "published_test_best chooses epochs on the test users, one for MAE and one for RMSE: it is for `ptupcdr "
            "benchmark` alone; the lineage serves one model, use the setting honest or published"
        )
    data = _data(home, pair)
    ratings, items, batch_size = {
        "source": (data.source, data.source_item_count, settings.source_batch_size),
        "target": (data.target_train, data.target_item_count, settings.target_batch_size),
    }[side]
    curves = _Curves(on_epoch)
    model = train_base_model(
        ratings,
        data.user_count,
        items,
        settings,
        batch_size=batch_size,
        stream=("source", "target").index(side),
        on_epoch=curves,
    )
    files = save_model(home, f"{side}_model", data, model.tensors(), settings, fingerprint, curves.entries())
    metrics = {"ratings": float(len(ratings)), "items": float(items), **curves.last()}
    return StageReport(metrics, curves.values, files)


def train_bridges(home: Home, pair: str, settings: Settings, on_epoch: OnEpoch, fingerprint: str = "") -> StageReport:
    """Train the personal bridge and the common ones beside it (asset ``meta_network``)."""
    data = _data(home, pair)
    task = load_bridge_task(home, data)
    curves = _Curves(on_epoch)
    bridges = fit_bridges(task, settings, curves)
    entries = {"chosen": bridges.chosen, "between": base_weights(home, pair), **curves.entries()}
    files = save_model(home, "meta_network", data, bridges.tensors(), settings, fingerprint, entries)
    validation = _errors_table(data, bridges.methods(task), settings)
    metrics = {f"validation_rmse_{row.method}": float(row.rmse) for row in validation.itertuples()}
    return StageReport({**bridges.chosen, **metrics}, curves.values, files, {"validation": validation})


def bridge_cold_users(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Give every cold-start user an embedding in the target domain (asset ``bridged_embeddings``)."""
    data = _data(home, pair)
    task = load_bridge_task(home, data)
    personal = load_bridges(home, data).personal
    users = data.cold_users
    embeddings = personal.embed(task, users)
    cohort = np.where(np.isin(users, data.cohorts["test"]), "test", "cold")
    made_by = personal.made_by(task, users)
    ids = user_ids(_warehouse(home), pair)[users]
    table = pa.table(
        {
            "pair": _constant(pair, len(users)),
            "user_id": pa.array(ids, pa.string()),
            "cohort": pa.array(cohort, pa.string()),
            "mode": _constant("rating", len(users)),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1]),
            "made_by": pa.array(made_by, pa.string()),
        }
    )
    _write(home, "bridged_embeddings", pair, {"bridged_embeddings": table}, settings, fingerprint)
    counts = pd.DataFrame({"cohort": cohort, "made_by": made_by}).value_counts().reset_index(name="users")
    norms = np.linalg.norm(embeddings, axis=1)
    return StageReport(
        {"users": float(len(users)), "mean_norm": float(norms.mean()) if len(users) else 0.0},
        tables={"users_by_cohort": counts},
    )


def evaluate_cold_start(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Measure every method and baseline on the test users (asset ``cold_start_evaluation``)."""
    data = _data(home, pair)
    task = load_bridge_task(home, data)
    tgt = FittedMethod("tgt", task.target, lambda users: task.target_user_vectors[users])
    methods = [*simple_baselines(data), tgt, *load_bridges(home, data).methods(task)]
    summary, details = evaluate(data, methods, settings, user_ids(_warehouse(home), pair))
    slices = evaluate_slices(data, methods, settings)
    tables = {
        "cold_start_evaluation": pa.Table.from_pandas(summary),
        "cold_start_errors": pa.Table.from_pandas(details),
        "cold_start_slices": pa.Table.from_pandas(slices),
    }
    _write(home, "cold_start_evaluation", pair, tables, settings, fingerprint)
    metrics = {f"{name}_{row.method}": getattr(row, name) for row in summary.itertuples() for name in ("mae", "rmse")}
    shown = summary.sort_values("rmse")[["method", "users", "ratings", "mae", "rmse"]].round(4)
    return StageReport(metrics, tables={"evaluation": shown, "mae_by_slice": _mae_by_slice(slices, shown["method"])})


def recommend_cold_users(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """The best target items of every cold-start user, in every mode that has embeddings (asset ``recommendations``).

    Nothing is left out as already seen: what a cold-start user has rated in the target are, at most, a test user's
    held-out ratings, which the lists must be free to find.
    """
    warehouse = _warehouse(home)
    ids = Ids.of(warehouse, pair)
    length = load_outline(warehouse, pair).history_length
    metrics = {"users": 0.0, "recommendations": 0.0}
    search = {"exact": top_items, "approximate": approximate_top_items}[settings.search]
    with warehouse.write(
        "recommendations", pair, fingerprint=fingerprint, settings=settings.model_dump()
    ) as connection:
        connection.execute(
            "create table recommendations (pair varchar, user_id varchar, cohort varchar, mode varchar, "
            "rank integer, item_id varchar, score float, made_by varchar, bridged boolean, reasons varchar[], "
            "reason_weights float[])"
        )
        for mode, users, indices, vectors in _bridged_users(warehouse, pair):
            serving = load_serving(home, pair, mode)
            metrics["users"] = max(metrics["users"], float(len(users)))
            found = search(serving.target, vectors, settings.top_k)
            if settings.search == "approximate":
                found = _with_recall(metrics, mode, serving.target, vectors, found)
            for start, items, scores in small_blocks(found):
                block = slice(start, start + len(items))
                people = people_of(warehouse, pair, indices[block], length)
                rows = recommendation_rows(users[block], people, serving, items, scores, ids)
                connection.register("block", rows)
                connection.execute("insert into recommendations by name select * from block")
                metrics["recommendations"] += len(rows)
    return StageReport(metrics)


def _with_recall(
    metrics: dict[str, float], mode: str, target: TargetItems, vectors: Floats, found: Iterator[Block]
) -> Iterator[Block]:
    """Pass a search's blocks on, and leave its recall on the first block's users in the metrics."""
    for start, items, scores in found:
        if start == 0:
            metrics[f"{mode}_recall"] = recall(target, vectors[: len(items)], items, scores)
        yield start, items, scores


def _bridged_users(warehouse: Warehouse, pair: str) -> Iterator[tuple[str, pa.Table, Index, Floats]]:
    """Of each mode: its R rows of ``bridged_embeddings`` by user, without the embeddings; (R,) their user indices; and
    the embeddings, (R, E) float32."""
    ids = pa.array(user_ids(warehouse, pair), pa.string())
    with warehouse.read("bridged_embeddings", pair) as connection:
        modes = connection.execute("select distinct mode from bridged_embeddings order by mode").fetchall()
        for (mode,) in modes:
            query = "select * from bridged_embeddings where mode = ? order by user_id"
            users: pa.Table = connection.sql(query, params=[mode]).to_arrow_table()
            embeddings = users["embedding"].combine_chunks()
            vectors = embeddings.flatten().to_numpy().reshape(len(users), -1).astype(np.float32)
            indices = pc.index_in(users["user_id"], value_set=ids).to_numpy().astype(np.int32)
            yield mode, users.drop_columns("embedding"), indices, vectors


class _Curves:
    """Collects every epoch's metrics on their way to the listener."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self.on_epoch = on_epoch
        self.values: dict[str, list[float]] = {}
        self.epochs: dict[str, list[int]] = {}

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)
            self.epochs.setdefault(name, []).append(epoch)
        self.on_epoch(epoch, metrics)

    def last(self) -> dict[str, float]:
        return {name: values[-1] for name, values in self.values.items()}

    def entries(self) -> dict[str, object]:
        """As a checkpoint's manifest keeps them: (epoch, value) by name."""
        return {"curves": {name: list(zip(self.epochs[name], self.values[name], strict=True)) for name in self.values}}


def _warehouse(home: Home) -> Warehouse:
    return Warehouse.from_environment(home.warehouse)


def _data(home: Home, pair: str) -> PairData:
    return load_pair(_warehouse(home), pair)


def _write(
    home: Home, asset: str, pair: str, tables: dict[str, pa.Table], settings: Settings, fingerprint: str
) -> None:
    with _warehouse(home).write(asset, pair, fingerprint=fingerprint, settings=settings.model_dump()) as connection:
        for name, table in tables.items():
            connection.register("arrow_table", table)
            connection.execute(f"create table {name} as select * from arrow_table")
            connection.unregister("arrow_table")


def _errors_table(data: PairData, methods: list[FittedMethod], settings: Settings) -> pd.DataFrame:
    """The methods on the validation users, in the evaluation's form."""
    validation = replace(data, target_test=data.target_validation)
    ids = np.arange(data.user_count + 1).astype(object)
    return evaluate(validation, methods, settings, ids)[0][["method", "users", "ratings", "mae", "rmse"]]


def _mae_by_slice(slices: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """One row a bucket, one column a method, in the given order."""
    bucket = ["slice", "at_least", "at_most", "users", "ratings"]
    wide = slices.pivot(index=bucket, columns="method", values="mae")
    return wide[[*methods]].round(4).reset_index()


def _constant(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)
