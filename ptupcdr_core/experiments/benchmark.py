"""Running a benchmark: missing cells, several at a time, then the tables of all cells.

A training releases the interpreter's lock in its compiled loops, so threads keep the cores busy and share the code that
numba has compiled.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import load_pair, user_ids
from ptupcdr_core.data.scratch_splits import ScratchSplits
from ptupcdr_core.engines.choice import choose_engine
from ptupcdr_core.evaluation.choosing import Chooser, Outcome, watch
from ptupcdr_core.evaluation.labels import labels
from ptupcdr_core.evaluation.slices import slice_errors
from ptupcdr_core.experiments.cells import CellStore, ratings_fingerprint
from ptupcdr_core.experiments.grid import AnyCell, Cell, Grid, ListCell, Unit, units_of
from ptupcdr_core.experiments.whole import measure_lists
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Needs
from ptupcdr_core.settings import Recipe, Settings
from ptupcdr_core.sql import statement
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import scratch_folder
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.task import Model

ASSET = "benchmark"
TABLES = (*Cell.tables, *ListCell.tables)
ORDER = {
    "benchmark_errors": ", user_id",
    "benchmark_slices": ", slice, at_least",
    "benchmark_rankings": ", user_id",
}
"""Further columns by which tables are ordered."""


@dataclass(frozen=True)
class Progress:
    """The state of a benchmark after a cell.

    Args:
        done: cells finished, those of earlier runs included.
        total: cells of the grid.
        seconds_left: estimated from this run's cells; None until one is finished.
        rows: the cell's rows of its first table, one a recipe; for lists, one a method.
        restored: whether an earlier run had finished it.
    """

    done: int
    total: int
    seconds_left: float | None
    rows: pd.DataFrame
    restored: bool


OnCell = Callable[[Progress], None]


def run_benchmark(
    home: Home,
    pair: Pair,
    source: Domain,
    target: Domain,
    grid: Grid,
    settings: Settings,
    on_cell: OnCell,
    *,
    workers: int = 2,
    fingerprint: str = "",
) -> pd.DataFrame:
    """Run what is missing of a grid and write the pair's tables (asset ``benchmark``).

    Args:
        home: has both domains' ``raw_ratings``; keeps finished cells and takes the tables.
        pair: the pair.
        source: its source domain.
        target: its target domain.
        grid: what varies.
        settings: everything else; its recipe, beta, seed and base_model are not used.
        on_cell: called after every cell, in the caller's thread; what it raises stops the benchmark, and the next run
            continues from the finished cells.
        workers: units trained at a time.
        fingerprint: kept in ``provenance``.

    Returns:
        The table ``benchmark``.

    Raises:
        WarehouseError: a domain was not ingested.
        SettingsError: a method is not known, or nothing is left to run, such as predicted ratings of a domain without
            stars.
        SplitError: a β and seed leave a cohort empty.
        DeviceError: the environment asks for a GPU that is not there.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    store = CellStore(home.benchmark / pair.key, ratings_fingerprint(warehouse, source, target))
    units = units_of(grid, settings, rated=source.stars is not None and target.stars is not None)
    with scratch_folder() as folder, one_thread():  # the workers are the parallelism
        splits = ScratchSplits(pair, source, target, warehouse, Warehouse(folder, warehouse.memory_limit, 1))
        _run(units, splits, store, on_cell, workers)
    return _write_tables(warehouse, pair, grid, [cell for unit in units for cell in unit.cells], store, fingerprint)


def _run(units: list[Unit], splits: ScratchSplits, store: CellStore, on_cell: OnCell, workers: int) -> None:
    """Start the workers, and report every cell in the caller's thread."""
    finished: queue.Queue[tuple[AnyCell, bool] | BaseException] = queue.Queue()
    stop = threading.Event()
    total, restored, start = sum(len(unit.cells) for unit in units), 0, time.monotonic()
    with ThreadPoolExecutor(workers, initializer=numba.set_num_threads, initargs=(1,)) as pool:
        try:
            for unit in units:
                pool.submit(_work, unit, splits, store, finished, stop)
            for done in range(1, total + 1):
                result = finished.get()
                if isinstance(result, BaseException):
                    raise result
                cell, was_there = result
                restored += was_there
                fresh = done - restored
                left = (time.monotonic() - start) / fresh * (total - done) if fresh else None
                on_cell(Progress(done, total, left, store.rows(cell), was_there))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _work(
    unit: Unit,
    splits: ScratchSplits,
    store: CellStore,
    finished: "queue.Queue[tuple[AnyCell, bool] | BaseException]",
    stop: threading.Event,
) -> None:
    try:
        source_model: Model | None = None
        for settings, cells in unit.by_beta():
            missing = [cell for cell in cells if not store.has(cell)]
            for cell in cells:
                if cell not in missing:
                    finished.put((cell, True))
            if missing:
                own = splits.of(settings)
                data = load_pair(own, splits.pair.key)
                ids = user_ids(own, data)
                experiment = Experiment(data, settings, source_model, choose_engine())
                for cell in missing:
                    if stop.is_set():
                        return
                    if isinstance(cell, ListCell):
                        store.save(cell, measure_lists(cell, data, ids))
                    else:
                        store.save(cell, _measure(cell, experiment, ids))
                    finished.put((cell, False))
                source_model = experiment.trained_source_model
    except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
        finished.put(error)


def _measure(cell: Cell, experiment: Experiment, ids: NDArray[np.object_]) -> dict[str, pd.DataFrame]:
    """Train a cell and make its tables.

    The seconds are the method's own, without the shared base models. The calibrated bridges are fitted together, and
    their seconds count for the one that is needed first.
    """
    data = experiment.data
    if cell.method.needs is Needs.BRIDGE:
        _ = experiment.task
    choosers = {name: Chooser(data, _named(cell.settings, name)) for name in cell.family}
    seconds, start = 0.0, time.perf_counter()
    for epoch in cell.method.fit(experiment):
        seconds += time.perf_counter() - start
        watch(data, choosers, epoch)
        start = time.perf_counter()
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in cell.tables}
    for name, chooser in choosers.items():
        outcome = chooser.outcome()
        about = labels(data.pair, cell.method.name, "rating", _named(cell.settings, name), cell.base_model)
        tables["benchmark"].append(pd.DataFrame([{**about, **_summary(outcome), "seconds": seconds}]))
        tables["benchmark_errors"].append(
            pd.DataFrame(
                {
                    **about,
                    "user_id": ids[outcome.errors.users].astype(str),
                    "ratings": outcome.errors.counts,
                    "absolute_error": outcome.errors.absolute,
                    "squared_error": outcome.errors.squared,
                }
            )
        )
        slices = slice_errors(data, outcome.mae_scores, outcome.rmse_scores)
        tables["benchmark_slices"].append(slices.assign(**about)[[*about, *slices.columns]])
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _summary(outcome: Outcome) -> dict[str, object]:
    errors = outcome.errors
    return {
        "users": len(errors.users),
        "ratings": int(errors.counts.sum()),
        "mae": errors.mae,
        "rmse": errors.rmse,
        "mae_of_mean": outcome.mae_of_mean,
        "log_loss": outcome.log_loss,
        "mae_epoch": outcome.mae_epoch,
        "rmse_epoch": outcome.rmse_epoch,
    }


def _named(settings: Settings, recipe: Recipe) -> Settings:
    return settings.model_copy(update={"recipe": recipe})


def _write_tables(
    warehouse: Warehouse, pair: Pair, grid: Grid, cells: list[AnyCell], store: CellStore, fingerprint: str
) -> pd.DataFrame:
    with warehouse.write(ASSET, pair.key, fingerprint=fingerprint, settings=grid.model_dump(mode="json")) as connection:
        connection.execute(statement("benchmark"))
        for name in TABLES:
            if files := store.files(cells, name):
                connection.execute(
                    f"insert into {name} by name from read_parquet(?) where recipe in (select unnest(?)) "  # nosec B608 # ours
                    f"order by recipe, base_model, beta, method, seed{ORDER.get(name, '')}",
                    [files, list(grid.recipes)],
                )
        return connection.execute("select * from benchmark").fetchdf()
