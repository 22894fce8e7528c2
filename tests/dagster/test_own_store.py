"""The home's own MLflow store is complete or not there at all."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ptupcdr_core.store.home import Home
from ptupcdr_dagster.tracking.stores import EXPERIMENT, open_own

LATE = "evaluation_datasets"
"""A table that MLflow's migrations make late."""
MAKING = "from ptupcdr_core.store.home import Home; from ptupcdr_dagster.tracking import stores; "


@pytest.mark.slow
def test_a_store_whose_making_was_killed_is_made_by_the_next(home: Home) -> None:
    """Killed in the middle of its migrations, which MLflow never opens again."""
    making = subprocess.Popen([sys.executable, "-c", f"{MAKING} stores.open_own(Home.from_environment())"])
    while not any(_has_late(file) for file in (*home.mlflow.glob("*.db"), *home.mlflow.glob(".*.tmp"))):
        assert making.poll() is None, "it ended before"
    making.kill()
    making.wait()
    client, _ = open_own(home)
    assert client.get_experiment_by_name(EXPERIMENT) is not None


def _has_late(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("select 1 from sqlite_master where name = ?", [LATE]).fetchall())
    except sqlite3.Error:  # it is being written
        return False
