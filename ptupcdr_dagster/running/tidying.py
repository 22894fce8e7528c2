"""Tidy up after killed processes: their runs are marked failed and their temporary files removed, at the next start."""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass

import dagster as dg
from filelock import FileLock, Timeout

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import leftovers, remove, size_of
from ptupcdr_core.store.owner import Owner, lives
from ptupcdr_core.store.replacing import writing
from ptupcdr_dagster.running.private import report_failed

OWNER = "ptupcdr/process"
"""The tag that names the process which carries out a run."""
ENDED = "its process ended without a word, as when it is killed"
_PROCESS = re.compile(r"\(pid: (\d+)\)")
_WORKING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]


@dataclass(frozen=True)
class Tidied:
    """What was put in order.

    Attributes:
        runs: Dagster runs that were marked failed.
        tracked: MLflow runs that were marked failed.
        files: Temporary files and folders that were removed.
        size: Bytes in them.
    """

    runs: int = 0
    tracked: int = 0
    files: int = 0
    size: int = 0

    def __str__(self) -> str:
        """Return what a person is told."""
        return (
            f"{self.runs} Dagster and {self.tracked} MLflow runs marked failed, {self.files} temporary files of "
            f"{self.size / 1e6:.1f} MB removed"
        )


def tidy(home: Home, instance: dg.DagsterInstance) -> Tidied:
    """Mark runs failed whose process is gone, and remove temporary files that no living process owns.

    Raises:
        StorageError: the home cannot be written.
    """
    place = home.root / "locks" / "tidy.lock"
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place, timeout=0):
            return _tidy(home, instance)
    except Timeout:
        return Tidied()


def dead_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Dagster runs that are recorded as running, but whose process is gone."""
    running = instance.get_runs(filters=dg.RunsFilter(statuses=_WORKING))
    return [run for run in running if _is_dead(instance, run)]


def _tidy(home: Home, instance: dg.DagsterInstance) -> Tidied:
    dead, tracked = dead_runs(instance), 0
    if dead or _some_are_tracked(home):
        # First: once the Dagster runs are marked failed, nothing tells which MLflow runs belong to dead ones.
        from ptupcdr_dagster.tracking.tidying import end_dead

        tracked = end_dead(home, {run.run_id for run in dead}, ENDED)
    for run in dead:
        report_failed(instance, run, ENDED)
    left = leftovers(home)
    size = sum(map(size_of, left))
    for path in left:
        remove(path)
    return Tidied(len(dead), tracked, len(left), size)


def _some_are_tracked(home: Home) -> bool:
    """Whether the home's own MLflow store has a run recorded as running; asked without MLflow, which loads slowly."""
    database = home.mlflow / "mlflow.db"
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("select 1 from runs where status = 'RUNNING' limit 1").fetchone() is not None
    except sqlite3.DatabaseError:
        return False  # whatever uses the store next reports what is wrong with it


def _is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    owner = Owner.named_in(run.tags.get(OWNER, ""))
    if owner is not None:
        return owner.gone
    # Dagster's own programs record their process ids in the run's events.
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    named = [(number, entry.timestamp) for entry in entries for number in _PROCESS.findall(entry.user_message or "")]
    return bool(named) and not any(lives(int(number), told) for number, told in named)
