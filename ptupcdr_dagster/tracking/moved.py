"""A home that was moved or copied: MLflow stores absolute paths, so a copy would write into the original home."""

import sqlite3
from contextlib import closing

from ptupcdr_core.store.home import Home

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
"""Tables and columns with paths in MLflow's own store, which MLflow has no way to change. A test fails when another
release has moved them."""


def adopt(home: Home, experiment: str) -> None:
    """Point the home's own store at the home's own files, if it was made in another folder.

    Args:
        home: The home of the store; the caller holds the store's lock.
        experiment: Its artifact location tells where the store was made.
    """
    database, here = home.mlflow / "mlflow.db", (home.mlflow / "artifacts").as_uri()
    if not database.is_file():
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        known = {table for (table,) in connection.execute("select name from sqlite_master where type = 'table'")}
        if "experiments" not in known:
            return
        query = "select artifact_location from experiments where name = ?"
        found = connection.execute(query, [experiment]).fetchone()
        if found is None or found[0] == here:
            return
        for table, column in PLACES:
            if table in known:
                inside = f"{column} = ? or instr({column}, ?) = 1"
                moved = f"update {table} set {column} = ? || substr({column}, ?) where {inside}"  # nosec B608 # ours
                connection.execute(moved, [here, len(found[0]) + 1, found[0], f"{found[0]}/"])
