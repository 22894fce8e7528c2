"""The stages of a pair, from its split to recommendations: each reads what earlier ones left and leaves its own.

An orchestrator calls one function an asset. Tables go to the warehouse, models to checkpoints under ``home.models``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.approximate import approximate_top_items, recall
from ptupcdr_core.checkpoints import Side, base_weights, load_bridge_task, load_bridges, save_model
from ptupcdr_core.deployment import Deployment
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.evaluation.cold_start import evaluate, evaluate_reliability, evaluate_slices, score
from ptupcdr_core.evaluation.metrics import rating_errors
from ptupcdr_core.home import Home
from ptupcdr_core.methods.method import FittedMethod
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.models.scorer import TargetItems
from ptupcdr_core.pair_data import Floats, Index, PairData, load_outline, load_pair, user_ids
from ptupcdr_core.people import People, people_of
from ptupcdr_core.ranking.bridging import train_ranking_bridges
from ptupcdr_core.ranking.checkpoints import load_ranking_bridges, load_ranking_task, save_bridges, save_side
from ptupcdr_core.ranking.cold_start import RANKING_COLUMNS, evaluate_rankings
from ptupcdr_core.ranking.factors import train_side
from ptupcdr_core.recommending import Ids, explained
from ptupcdr_core.serving import load_serving
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.top_items import Block, top_items
from ptupcdr_core.training.bridging import train_bridges as fit_bridges
from ptupcdr_core.training.device import training_device
from ptupcdr_core.training.epochs import OnEpoch
from ptupcdr_core.training.pretraining import train_base_model
from ptupcdr_core.unseen import unseen_items
from ptupcdr_core.warehouse import Warehouse

COMMITTED = 1 << 19
"""Recommendations written in one transaction: it is kept in memory, and a short one is written twice, to the log and to
the file."""


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
        DeviceError: the environment asks for a GPU that is not there.
    """
    if settings.setting == "published_test_best":
        raise SettingsError(
            "published_test_best chooses epochs on the test users, one for MAE and one for RMSE: it is for `ptupcdr "
            "benchmark` alone; the lineage serves one model, use the setting honest or published"
        )
    return pretrain_on(home, _data(home, pair), side, settings, on_epoch, fingerprint)


def pretrain_on(
    home: Home, data: PairData, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str
) -> StageReport:
    """Train one side's base model on its training ratings in the data, and save its checkpoint."""
    device = training_device()
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
        device=device,
    )
    files = save_model(home, f"{side}_model", data, model.tensors(), settings, fingerprint, curves.entries())
    if settings.ranks:
        factors = train_side(data, side, settings, curves, device)
        files += save_side(home, side, data, factors, settings, fingerprint)
    metrics = {"ratings": float(len(ratings)), "items": float(items), **curves.last()}
    return StageReport(metrics, curves.values, files)


def train_bridges(home: Home, pair: str, settings: Settings, on_epoch: OnEpoch, fingerprint: str = "") -> StageReport:
    """Train the personal bridge and the common ones beside it (asset ``meta_network``).

    Raises:
        DeviceError: the environment asks for a GPU that is not there.
    """
    device, data = training_device(), _data(home, pair)
    task = load_bridge_task(home, data)
    curves = _Curves(on_epoch)
    bridges = fit_bridges(task, settings, curves, device)
    entries = {"chosen": bridges.chosen, "between": base_weights(home, pair), **curves.entries()}
    files = save_model(home, "meta_network", data, bridges.tensors(), settings, fingerprint, entries)
    validation = _errors_table(data, bridges.methods(task), settings)
    metrics = {f"validation_rmse_{row.method}": float(row.rmse) for row in validation.itertuples()}
    chosen = bridges.chosen
    if settings.ranks:
        ranking = train_ranking_bridges(
            load_ranking_task(home, data), hidden_size=settings.meta_hidden_size, seed=settings.seed
        )
        files += save_bridges(home, data, ranking, settings, fingerprint)
        chosen = chosen | ranking.chosen
    return StageReport({**chosen, **metrics}, curves.values, files, {"validation": validation})


def bridge_cold_users(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Give every cold-start user an embedding in the target domain, one a mode (asset ``bridged_embeddings``)."""
    data = _data(home, pair)
    ids = user_ids(_warehouse(home), pair)
    tables, metrics = [], {"users": float(len(data.cold_users))}
    for mode in settings.modes:
        tables.append(bridged_rows(data, ids, mode, *_bridge_of(home, data, mode)))
        vectors = _vectors(tables[-1])
        metrics[f"mean_norm_{mode}"] = float(np.linalg.norm(vectors, axis=1).mean()) if len(vectors) else 0.0
    table = joined(tables)
    _write(home, "bridged_embeddings", pair, {"bridged_embeddings": table}, settings, fingerprint)
    counts = table.select(["mode", "cohort", "made_by"]).to_pandas().value_counts().reset_index(name="users")
    return StageReport(metrics, tables={"users_by_cohort": counts})


def bridged_rows(
    data: PairData, ids: NDArray[np.object_], mode: Mode, source: SourceSide, bridge: PersonalBridge
) -> pa.Table:
    """Every cold-start user of a pair once, with the embedding that a mode's bridge gives.

    Args:
        data: the pair's split.
        ids: (U+1,) user ids by index.
        mode: of the bridge.
        source: what the bridge reads.
        bridge: of that mode.
    """
    users = data.cold_users
    embeddings = bridge.embed(source, users)
    columns = {
        "pair": _constant(data.pair, len(users)),
        "user_id": pa.array(ids[users], pa.string()),
        "cohort": pa.array(np.where(np.isin(users, data.cohorts["test"]), "test", "cold"), pa.string()),
        "mode": _constant(mode, len(users)),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1]),
        "made_by": pa.array(bridge.made_by(source, users), pa.string()),
    }
    return pa.table(columns)


def joined(tables: list[pa.Table]) -> pa.Table:
    """The rows of one or two modes in one table."""
    if len(tables) > 1:  # vectors of two sizes stand in one column only as lists of any length
        tables = [table.cast(_with_lists(table.schema)) for table in tables]
    return pa.concat_tables(tables)


def _bridge_of(home: Home, data: PairData, mode: Mode) -> tuple[SourceSide, PersonalBridge]:
    if mode == "ranking":
        return load_ranking_task(home, data), load_ranking_bridges(home, data).personal
    return load_bridge_task(home, data), load_bridges(home, data).personal


def _with_lists(schema: pa.Schema) -> pa.Schema:
    place = schema.get_field_index("embedding")
    return schema.set(place, pa.field("embedding", pa.list_(pa.float32())))


def evaluate_cold_start(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Measure every method and baseline on the test users (asset ``cold_start_evaluation``)."""
    data = _data(home, pair)
    task = load_bridge_task(home, data)
    tgt = FittedMethod("tgt", task.target, lambda users: task.target_user_vectors[users])
    methods = [*simple_baselines(data), tgt, *load_bridges(home, data).methods(task)]
    ids = user_ids(_warehouse(home), pair)
    scored = score(data, methods, settings)
    summary, details = evaluate(data, scored, settings, ids)
    slices = evaluate_slices(data, scored, settings)
    shown = summary.sort_values("rmse")[["method", "users", "ratings", "mae", "rmse", "mae_of_mean", "log_loss"]].round(
        4
    )
    metrics = {f"{name}_{row.method}": getattr(row, name) for row in summary.itertuples() for name in ("mae", "rmse")}
    report = StageReport(metrics, tables={"evaluation": shown})  # filled further below
    tables = {"cold_start_errors": pa.Table.from_pandas(details), "cold_start_slices": pa.Table.from_pandas(slices)}
    if settings.clipped:
        tables["cold_start_reliability"] = pa.Table.from_pandas(evaluate_reliability(data, scored, settings))
    if settings.ranks:
        rankings, by_user = evaluate_rankings(
            data, load_ranking_task(home, data), load_ranking_bridges(home, data), settings, ids
        )
        summary = pd.concat([summary, rankings], ignore_index=True)
        tables["cold_start_rankings"] = pa.Table.from_pandas(by_user)
        metrics |= {f"ndcg_at_10_{row.method}": float(row.ndcg_at_10) for row in rankings.itertuples()}
        best_first = rankings.sort_values("ndcg_at_10", ascending=False)
        report.tables["rankings"] = best_first[["method", "users", *RANKING_COLUMNS]].round(4)
    else:
        summary = summary.assign(**dict.fromkeys(RANKING_COLUMNS, np.nan))
    tables["cold_start_evaluation"] = pa.Table.from_pandas(summary)
    _write(home, "cold_start_evaluation", pair, tables, settings, fingerprint)
    report.tables["mae_by_slice"] = _mae_by_slice(slices, shown["method"])
    return report


def recommend_cold_users(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """The best target items of every cold-start user, from the ranking side where there is one (``recommendations``).

    Evaluated models leave nothing out as already seen: what a cold-start user has rated in the target are, at most, a
    test user's held-out ratings, which the lists must be free to find. Models that were fitted again know these
    ratings, and their lists leave them out.
    """
    warehouse, deployment = _warehouse(home), Deployment.of(home, pair)
    ids = Ids.of(warehouse, pair)
    length = load_outline(warehouse, pair).history_length
    metrics, mode = {"users": 0.0, "recommendations": 0.0}, settings.modes[-1]
    search = {"exact": top_items, "approximate": approximate_top_items}[settings.search]
    with warehouse.write(
        "recommendations", pair, fingerprint=fingerprint, settings=settings.model_dump()
    ) as connection:
        connection.execute(
            "create table recommendations (pair varchar, user_id varchar, cohort varchar, mode varchar, "
            "rank integer, item_id varchar, score float, made_by varchar, bridged boolean, reasons varchar[], "
            "reason_weights float[])"
        )
        serving = load_serving(deployment.home, pair, mode)
        users, indices, vectors = _bridged_users(warehouse, deployment, mode)
        metrics["users"] = float(len(users))
        found = search(serving.target, vectors, settings.top_k)
        if settings.search == "approximate":
            found = _with_recall(metrics, mode, serving.target, vectors, found)
        found = unseen_items(found, serving.target, vectors, deployment.seen(indices))

        def people(block: slice) -> People:
            return people_of(warehouse, pair, indices[block], length)

        connection.begin()
        uncommitted = 0
        for rows in explained(found, users, people, serving, ids):
            connection.register("block", rows)
            connection.execute("insert into recommendations by name select * from block")
            metrics["recommendations"] += len(rows)
            uncommitted += len(rows)
            if uncommitted >= COMMITTED:
                connection.commit()
                connection.begin()
                uncommitted = 0
        connection.commit()
    return StageReport(metrics)


def _with_recall(
    metrics: dict[str, float], mode: str, target: TargetItems, vectors: Floats, found: Iterator[Block]
) -> Iterator[Block]:
    """Pass a search's blocks on, and leave its recall on the first block's users in the metrics."""
    for start, items, scores in found:
        if start == 0:
            metrics[f"{mode}_recall"] = recall(target, vectors[: len(items)], items, scores)
        yield start, items, scores


def _bridged_users(warehouse: Warehouse, deployment: Deployment, mode: Mode) -> tuple[pa.Table, Index, Floats]:
    """The mode's R cold-start users without their embeddings; (R,) their user indices; and the embeddings, (R, E)
    float32."""
    ids = pa.array(user_ids(warehouse, deployment.pair), pa.string())
    users = deployment.users(mode)
    indices = pc.index_in(users["user_id"], value_set=ids).to_numpy().astype(np.int32)
    return users.drop_columns("embedding"), indices, _vectors(users)


def _vectors(users: pa.Table) -> Floats:
    """(R, E) the column ``embedding``, of vectors of one size."""
    embeddings = users["embedding"].combine_chunks().flatten().to_numpy()
    return np.asarray(embeddings.reshape(len(users), -1), np.float32)


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
    """The methods' own predictions for the validation users, by whom they are calibrated only later."""
    validation, scale = data.target_validation, data.target_scale if settings.clipped else None
    errors = {method.name: rating_errors(method.score(validation), validation, scale) for method in methods}
    rows = [(name, len(e.users), len(validation), e.mae, e.rmse) for name, e in errors.items()]
    return pd.DataFrame(rows, columns=["method", "users", "ratings", "mae", "rmse"])


def _mae_by_slice(slices: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """One row a bucket, one column a method, in the given order."""
    bucket = ["slice", "at_least", "at_most", "users", "ratings"]
    wide = slices.pivot(index=bucket, columns="method", values="mae")
    return wide[[*methods]].round(4).reset_index()


def _constant(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)
