"""Where the attacks take place: a small catalog, homes, backfills in processes of their own, and what a home holds."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy.exc import OperationalError

sys.path.insert(0, str(Path(__file__).parents[1] / "dagster"))

from catalogs import small_catalog
from loaded_program import LIBRARIES, core_modules

from ptupcdr_core.sql import identifier
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

PAIR = "books__movies"
CONTEXT = multiprocessing.get_context("forkserver")
Held = dict[tuple[str, str, str], tuple[int, int]]
"""Rows, and a hash of them in any order, by asset, partition and table."""
NOT_COMPARED = {"provenance"}
"""Tables with the time at which they were made."""


@dataclass(frozen=True)
class Ground:
    """A catalog of three small domains, and where homes are made.

    Attributes:
        root: Of everything.
        catalog: The file.
        mode: What backfills make: both, or rating alone in half the time.
    """

    root: Path
    catalog: Path
    mode: str = "both"

    @classmethod
    def prepare(cls, root: Path, pairs: list[tuple[str, str]], mode: str = "both") -> "Ground":
        """Write the catalog, and let the server that processes are forked from load all that they need."""
        catalog = small_catalog(root / "catalog", pairs)
        os.environ.update({"PTUPCDR_CATALOG": str(catalog), "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
        for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME", "PTUPCDR_EXECUTOR"):
            os.environ.pop(name, None)
        CONTEXT.set_forkserver_preload([*LIBRARIES, *core_modules(), "ptupcdr_dagster.definitions"])
        return cls(root, catalog, mode)

    def settings(self, seed: int = 1) -> dict[str, Any]:
        """Settings with which a backfill takes seconds."""
        return {"epochs": 2, "embedding_size": 4, "mode": self.mode, "seed": seed}

    def home(self, name: str) -> Home:
        """A home of this ground."""
        return Home(self.root / name)


@dataclass(frozen=True)
class Told:
    """How a process ended.

    Attributes:
        failures: What its report names; None where it left no report.
        steps: Assets and what happened to them, with the second at which it was heard of.
    """

    failures: list[str] | None
    steps: list[tuple[str, str, float]]


Watch = Callable[[str, str], float | None]
"""Told of an asset and what happens to it; seconds after which the process is to be killed, or None."""


def backfill(home: Home, settings: dict[str, Any], pairs: list[str], watch: Watch = lambda asset, state: None) -> Told:
    """A backfill in a process of its own, which may be killed."""
    return _watched(_backfill, (home, settings, pairs), watch)


def benchmark(home: Home, settings: dict[str, Any], watch: Watch = lambda asset, state: None) -> Told:
    """A benchmark of two cells' worth of settings and two methods."""
    return _watched(_benchmark, (home, settings), watch)


def search(home: Home, settings: dict[str, Any], watch: Watch = lambda asset, state: None) -> Told:
    """A search of four trials."""
    return _watched(_search, (home, settings), watch)


def start(function: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """A forked process that tells of itself."""
    here, there = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=function, args=(*arguments, there))
    process.start()
    there.close()
    return process, here


def held(home: Home) -> Held:
    """What the tables hold.

    Raises:
        duckdb.Error: one of them cannot be read.
    """
    found: Held = {}
    warehouse = Warehouse(home.warehouse, threads=1)
    for file in sorted(home.warehouse.glob("*/*.duckdb")):
        with warehouse.read(file.parent.name, file.stem) as connection:
            tables = connection.execute(
                "select table_name from duckdb_tables() where database_name = current_database()"
            ).fetchall()
            for (table,) in tables:
                if table not in NOT_COMPARED:
                    query = f"select count(*), coalesce(bit_xor(hash(r)), 0) from {identifier(table)} as r"
                    [found[file.parent.name, file.stem, table]] = connection.execute(query).fetchall()
    return found


def readable(home: Home) -> int:
    """Read all models and views, and return how many.

    Raises:
        PtupcdrError, duckdb.Error: one of them cannot be read.
    """
    read = 0
    for manifest in home.models.glob("*/*.json"):
        artifacts.read_whole(manifest.parent, manifest.stem)
        read += 1
    catalog = Warehouse(home.warehouse).catalog
    if catalog.exists():
        with duckdb.connect(str(catalog), read_only=True) as connection:
            for (view,) in connection.execute("select view_name from duckdb_views() where not internal").fetchall():
                connection.execute(f"select count(*) from {identifier(view)}").fetchall()
                read += 1
    return read


def left_over(home: Home) -> dict[str, int]:
    """What should not be there after a command that went through."""
    from ptupcdr_core.store.leftovers import leftovers
    from ptupcdr_dagster.running.instance import open_instance
    from ptupcdr_dagster.running.tidying import dead_runs
    from ptupcdr_dagster.tracking.stores import open_own

    with open_instance(home) as instance:
        dead = len(dead_runs(instance))
    client, experiment = open_own(home)
    tracked = len(client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=1000))
    return {"Dagster runs": dead, "MLflow runs": tracked, "temporary files": len(leftovers(home))}


@contextmanager
def telling(tell: Connection) -> Iterator[list[str]]:
    """In a forked process: whatever it writes goes nowhere, and its failures are told at the end."""
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    failures: list[str] = []
    try:
        yield failures
    except BaseException as error:
        # Whatever it is, the attack is to know of it: an error of ours is a clear message, any other is a finding.
        failures.append(f"{type(error).__name__}: {error}")
        raise
    finally:
        tell.send(failures)


def _watched(function: Callable[..., None], arguments: tuple[Any, ...], watch: Watch) -> Told:
    process, told = start(function, *arguments)
    steps: list[tuple[str, str, float]] = []
    failures, kill_at = None, None
    while True:
        wait: float | None = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        try:
            news = told.recv() if told.poll(wait) else None
        except EOFError:
            break
        if news is None:
            process.kill()
            break
        if isinstance(news, list):
            failures = news
            continue
        steps.append((*news, time.monotonic()))
        after = watch(*news) if kill_at is None else None
        kill_at = time.monotonic() + after if after is not None else kill_at
    process.join()
    return Told(failures, steps)


def _backfill(home: Home, settings: dict[str, Any], pairs: list[str], tell: Connection) -> None:
    with telling(tell) as failures:
        from ptupcdr_core.settings import Settings
        from ptupcdr_dagster.partitions import CATALOG
        from ptupcdr_dagster.running.backfill import Backfill
        from ptupcdr_dagster.running.instance import open_instance, store_fails
        from ptupcdr_dagster.running.tidying import tidy

        os.environ["PTUPCDR_HOME"] = str(home.root)
        chosen = [CATALOG.pair(key) for key in pairs]
        with open_instance(home) as instance:
            made = Backfill(instance, home, Settings(**settings), listener=lambda part, *news: tell.send(news))
            try:
                tidy(home, instance)
                *_, (_, report) = made.run(chosen, made.plan(chosen))
            except OperationalError as error:
                raise store_fails(error) from error  # as the command tells of it
            failures += [f"{finding.asset}: {finding.message}" for finding in report.failures]


def _benchmark(home: Home, settings: dict[str, Any], tell: Connection) -> None:
    with telling(tell) as failures:
        from ptupcdr_core.settings import Settings
        from ptupcdr_dagster.assets.benchmark import ON_CELL
        from ptupcdr_dagster.jobs import BENCHMARK_PAIR
        from ptupcdr_dagster.partitions import CATALOG
        from ptupcdr_dagster.running.backfill import Backfill
        from ptupcdr_dagster.running.instance import open_instance
        from ptupcdr_dagster.running.tidying import tidy

        os.environ["PTUPCDR_HOME"] = str(home.root)
        grid = {"betas": [0.2], "seeds": [1, 2], "base_models": ["mf"], "methods": ["item_mean", "tgt", "emcdr"]}
        config = {"benchmark": grid | {"recipes": ["honest"], "workers": 1, "measure": True}}
        ON_CELL.set(lambda progress: tell.send(("cell", "done")))
        chosen = [CATALOG.pair(PAIR)]
        with open_instance(home) as instance:
            tidy(home, instance)
            made = Backfill(instance, home, Settings(**settings), job=BENCHMARK_PAIR, assets_config=config)
            tell.send(("benchmark", "started"))
            *_, (_, report) = made.run(chosen, made.plan(chosen))
            failures += [f"{finding.asset}: {finding.message}" for finding in report.failures]


def _search(home: Home, settings: dict[str, Any], tell: Connection) -> None:
    with telling(tell):
        from ptupcdr_core.settings import Settings
        from ptupcdr_dagster.cli import tuning
        from ptupcdr_dagster.partitions import CATALOG
        from ptupcdr_dagster.running.instance import open_instance
        from ptupcdr_dagster.running.tidying import tidy

        os.environ["PTUPCDR_HOME"] = str(home.root)
        with open_instance(home) as instance:
            tidy(home, instance)
        tell.send(("search", "started"))
        tuning.search(
            home,
            CATALOG.pair(PAIR),
            Settings(**settings),
            lambda progress: tell.send(("trial", "done")),
            objective="rating",
            trials=4,
            timeout=None,
        )
