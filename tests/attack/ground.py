"""What all attacks share: a small catalog, homes, and ways to compare the content of homes."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1] / "dagster"))

from catalogs import small_catalog
from loaded_program import LIBRARIES, core_modules
from processes import CONTEXT

from ptupcdr_core.sql import identifier
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import size_of
from ptupcdr_core.store.warehouse import Warehouse

T = TypeVar("T")
Key = tuple[str, str, str]
"""Asset, partition and table."""
Hashes = dict[Key, tuple[int, int | None]]
"""By table: the number of rows, and a hash of them that does not depend on their order."""
NOT_COMPARED = {"benchmark": "seconds", "benchmark_lists": "seconds"}
"""By table, the column that depends on how long a run took."""
TIMED = {"provenance", "drift"}
"""Tables that contain the time at which something was made."""


@dataclass(frozen=True)
class Ground:
    """A catalog of three small domains, and the folder of the homes.

    Attributes:
        root: The folder of the catalog and of all homes.
        catalog: The catalog's file.
        mode: The mode of the backfills: ``both``, or ``rating``, which takes half the time.
    """

    root: Path
    catalog: Path
    mode: str = "both"

    @classmethod
    def prepare(cls, root: Path, pairs: list[tuple[str, str]], mode: str = "both") -> "Ground":
        """Write the catalog, and set up the fork server so that all modules are loaded there."""
        catalog = small_catalog(root / "catalog", pairs)
        os.environ.update({"PTUPCDR_CATALOG": str(catalog), "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
        # For Dagster's own commands only; backfills ignore it.
        os.environ["PTUPCDR_EXECUTOR"] = "multiprocess"
        for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
            os.environ.pop(name, None)
        CONTEXT.set_forkserver_preload([*LIBRARIES, *core_modules(), "ptupcdr_dagster.definitions"])
        return cls(root, catalog, mode)

    def settings(self, seed: int = 1) -> dict[str, Any]:
        """Settings with which a backfill takes seconds."""
        return {"epochs": 2, "embedding_size": 4, "mode": self.mode, "seed": seed}

    def home(self, name: str) -> Home:
        """The home of this name."""
        return Home(self.root / name)


def hashes(home: Home) -> Hashes:
    """The size and hash of every table.

    Raises:
        duckdb.Error: one of them cannot be read.
    """

    def summed(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int | None]:
        rows = f"(select * exclude ({NOT_COMPARED[table]}) from t) as r" if table in NOT_COMPARED else "t as r"
        query = f"with t as (from file.{identifier(table)}) select count(*), bit_xor(hash(r)) from {rows}"
        [found] = connection.execute(query).fetchall()
        return found

    return {key: found for key, found in _each(home, summed) if key[2] not in TIMED}


def contents(home: Home) -> dict[Key, list[str]]:
    """The rows of all tables, as text."""

    def listed(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
        query = f"with r as (from file.{identifier(table)}) select r::varchar from r"
        return [text for (text,) in connection.execute(query).fetchall()]

    return dict(_each(home, listed))


def _each(home: Home, read: Callable[[duckdb.DuckDBPyConnection, str], T]) -> Iterator[tuple[Key, T]]:
    """Apply ``read`` to each table."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for file in sorted(home.warehouse.glob("*/*.duckdb")):
            connection.execute(f"attach '{file}' as file (read_only)")
            named = "select table_name from duckdb_tables() where database_name = 'file'"
            for (table,) in connection.execute(named).fetchall():
                yield (file.parent.name, file.stem, table), read(connection, table)
            connection.execute("detach file")


def differing(found: Hashes, *expected: Hashes) -> list[Key]:
    """Tables whose content is that of none of the expected states."""
    return [key for key, content in found.items() if content not in [state.get(key) for state in expected]]


def readable(home: Home) -> int:
    """Read all models and views; returns how many there are.

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
    """Counts that must be 0 after a command that succeeded."""
    from ptupcdr_core.store.leftovers import leftovers
    from ptupcdr_dagster.running.instance import open_instance
    from ptupcdr_dagster.running.tidying import dead_runs
    from ptupcdr_dagster.tracking.stores import open_own

    os.environ["DAGSTER_HOME"] = str(home.dagster)
    with open_instance(home) as instance:
        dead = len(dead_runs(instance))
    del os.environ["DAGSTER_HOME"]
    client, experiment = open_own(home)
    tracked = len(client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=1000))
    return {"dead Dagster runs": dead, "dead MLflow runs": tracked, "temporary files": len(leftovers(home))}


def pruned(home: Home, ground: Ground) -> float:
    """Prune everything old; returns how many megabytes are left."""
    from ptupcdr_core.store.catalog_file import load_catalog
    from ptupcdr_dagster.running.instance import open_instance
    from ptupcdr_dagster.running.pruning import Prune

    os.environ["DAGSTER_HOME"] = str(home.dagster)
    with open_instance(home) as instance:
        Prune(home, instance, load_catalog(ground.catalog), time.time()).run()
    del os.environ["DAGSTER_HOME"]
    return round(size_of(home.root) / 1e6, 1)


def trials(home: Home) -> dict[str, list[tuple[float | None, dict[str, Any]]]]:
    """The finished trials of each search of a home, in order: value and settings."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from ptupcdr_core.experiments.search import FINISHED

    found = {}
    for journal in home.tuning.glob("*.journal"):
        storage = JournalStorage(JournalFileBackend(str(journal)))
        for name in optuna.study.get_all_study_names(storage):
            finished = optuna.load_study(study_name=name, storage=storage).get_trials(states=FINISHED)
            found[name] = [(trial.value, trial.params) for trial in finished]
    return found
