"""The Dagster instance that every way of running shares, so that all runs show in one UI."""

import os
from pathlib import Path

import dagster as dg
from filelock import FileLock
from sqlalchemy.exc import DatabaseError

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced, writing
from ptupcdr_dagster.running.private import open_storages
from ptupcdr_dagster.tracking.stores import store_fails

LOCATION = "ptupcdr"

DAGSTER_YAML = """\
# Made once by ptupcdr; yours to change. https://docs.dagster.io/deployment/oss/dagster-yaml
telemetry:
  enabled: false
nux:
  enabled: false # the UI's first page is the lineage, not an invitation to subscribe
concurrency:
  runs:
    max_concurrent_runs: 2 # pairs of a backfill that run at once; each keeps a core busy
freshness:
  enabled: true # marks as overdue what [nights] fresh_within_hours is set for
python_logs:
  managed_python_loggers: [ptupcdr_core] # the core's own log lines show in the run's log
"""


def instance_folder(home: Home) -> Path:
    """Where the instance is kept: DAGSTER_HOME, else the home's own folder."""
    return Path(os.environ.get("DAGSTER_HOME") or home.dagster).expanduser().absolute()


def dagster_home(home: Home) -> Path:
    """The instance's folder; created, and exported so that everything started from here uses it.

    Without the variable, Dagster itself keeps nothing.
    """
    folder = instance_folder(home)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "dagster.yaml"
    if not configuration.exists():
        # Replaced whole: an empty file, left by a full disk, would be taken for the user's own configuration.
        with replaced(configuration) as temporary:
            temporary.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def open_instance(home: Home) -> dg.DagsterInstance:
    """The instance of ``dagster_home``; close it with ``with``.

    One process at a time: two that find no SQLite store would both create its tables, and one of them would fail.

    Raises:
        StorageError: the store cannot be written, or is damaged.
    """
    home.claim()
    folder = dagster_home(home)
    try:
        with writing(folder), FileLock(folder / ".ptupcdr.lock"):
            instance = dg.DagsterInstance.get()
            open_storages(instance)
            return instance
    except DatabaseError as error:
        raise store_fails(error.orig, folder) from error


def write_workspace(home: Home) -> Path:
    """Write a workspace file: an installed wheel has none, and ``-m`` would give the code location another name."""
    path = dagster_home(home) / "workspace.yaml"
    path.write_text(
        "# Made by `ptupcdr up` at every start.\n"
        "load_from:\n"
        "  - python_module:\n"
        "      module_name: ptupcdr_dagster.definitions\n"
        f"      location_name: {LOCATION}\n"
    )
    return path
