"""The catalog file: for each table name a view over the partition files that hold it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock

from ptupcdr_core.sql import identifier, literal
from ptupcdr_core.store.database import replaced_database, view_bodies
from ptupcdr_core.store.instances import instance
from ptupcdr_core.store.replacing import writing

Columns = tuple[tuple[str, str], ...]
"""Names and types of a table's columns, in order."""
Places = list[tuple[Path, str | None]]
"""Files that hold a table, and its select statement where it is a view of other files, since such a view cannot be read
through another one."""

log = logging.getLogger(__name__)


def rebuild(root: Path, catalog: Path, storage: str) -> None:
    """Write the catalog of views anew and replace it in one step.

    One process at a time does this. Whoever holds the old catalog open keeps it, and blocks nobody.

    Raises:
        StorageError: it cannot be written; the old one stays.
    """

    def connect(path: Path) -> duckdb.DuckDBPyConnection:
        config: dict[str, Any] = {"storage_compatibility_version": storage, "threads": 1}
        return duckdb.connect(str(path), config=config)

    with _lock(root, catalog), replaced_database(catalog, connect) as connection:
        for table, body in _bodies(root).items():
            connection.execute(f"create view {identifier(table)} as {body}")


@contextmanager
def _lock(root: Path, catalog: Path) -> Iterator[None]:
    lock = FileLock(root / ".catalog.lock")
    with writing(catalog):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _bodies(root: Path) -> dict[str, str]:
    found: dict[str, dict[Columns, Places]] = {}
    with instance({"threads": 1}) as connection:
        for path in sorted(root.glob("*/*.duckdb")):
            for table, (columns, body) in _tables(connection, path).items():
                found.setdefault(table, {}).setdefault(columns, []).append((path, body))
    return {table: _union(table, groups) for table, groups in found.items()}


def _tables(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, tuple[Columns, str | None]]:
    try:
        connection.execute(f"attach {literal(path)} as partition_file (read_only)")
        connection.execute("use partition_file")
    except duckdb.Error as error:
        # One damaged file must not keep the others from being written; reading it says what to do.
        log.warning("%s is damaged and left out of the views: %s", path, error)
        return {}
    rows = connection.execute(
        "select table_name, list((column_name, data_type) order by column_index) from duckdb_columns() "
        "where database_name = 'partition_file' group by table_name"
    ).fetchall()
    bodies = view_bodies(connection)
    connection.execute("use memory")
    connection.execute("detach partition_file")
    return {name: (tuple(columns), bodies.get(name)) for name, columns in rows}


def _union(table: str, groups: dict[Columns, Places]) -> str:
    selects = []
    for columns, places in groups.items():
        held = [path for path, body in places if body is None]
        selects += [_select(table, columns, held)] if held else []
        selects += [body for _, body in places if body is not None]
    return " union all by name ".join(selects)


def _select(table: str, columns: Columns, paths: list[Path]) -> str:
    # FLOAT[10] and FLOAT[12] have no common type; as lists of any length they fit into one view.
    casts = [
        f"{identifier(name)}::{kind[: kind.rindex('[')]}[] as {identifier(name)}"
        for name, kind in columns
        if kind.endswith("]") and not kind.endswith("[]")
    ]
    replaced = f" replace ({', '.join(casts)})" if casts else ""
    files = ", ".join(literal(path) for path in paths)
    return f"select *{replaced} from read_duckdb([{files}], table_name = {literal(table)})"  # nosec B608 # quoted
