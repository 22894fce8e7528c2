"""Instances of DuckDB in memory to read from, kept for the next reader: to make one takes longer than most reading."""

import atexit
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from ptupcdr_core.errors import StorageError, WarehouseError
from ptupcdr_core.store.replacing import no_space

KEPT = 4
"""Idle ones of one configuration; readers are seldom deeper within each other."""


def says_full(error: duckdb.Error) -> bool:
    """Whether DuckDB failed because a disk is full: its errors carry no number."""
    return "No space left on device" in str(error) or "max_temp_directory_size" in str(error)


def open_database(path: Path | None, config: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """A new instance of its own, of a file or in memory.

    Raises:
        WarehouseError: the configuration is refused.
        StorageError: it cannot be opened, as on a full disk.
    """
    try:
        return duckdb.connect(str(path or ":memory:"), config=dict(config))
    except duckdb.IOException as error:
        if path is not None and says_full(error):
            raise no_space(path) from error
        raise StorageError(f"{path or 'a database in memory'} cannot be opened: {error}") from error
    except duckdb.Error as error:
        raise WarehouseError(f"DuckDB refuses PTUPCDR_MEMORY_LIMIT or PTUPCDR_THREADS: {error}") from error


_idle: dict[tuple[object, ...], list[duckdb.DuckDBPyConnection]] = {}


@contextmanager
def instance(config: Mapping[str, Any] | None = None, spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an instance that nobody else uses meanwhile and that holds nothing.

    Databases may be attached, temporary tables, views and macros created, variables set: all of it is gone afterwards.

    Args:
        config: of DuckDB; what limits the instance.
        spill: a folder for what does not fit in memory, removed at the end; not there yet.

    Raises:
        WarehouseError: the configuration is refused.
        StorageError: it cannot be opened.
    """
    idle = _idle.setdefault((spill is None, *sorted((config or {}).items())), [])
    try:
        made = idle.pop()  # one step, so that two threads never get the same
    except IndexError:
        made = open_database(None, config or {})
    whole = False
    try:
        with made.cursor() as connection:
            if spill:
                connection.execute("set temp_directory = ?", [str(spill)])
            yield connection
        # Where something was spilled, DuckDB stays with that folder.
        whole = _emptied(made, config or {}) and not (spill and spill.exists())
    finally:
        if whole and len(idle) < KEPT:
            idle.append(made)
        else:
            made.close()
        if spill:
            shutil.rmtree(spill, ignore_errors=True)


def _emptied(made: duckdb.DuckDBPyConnection, config: Mapping[str, Any]) -> bool:
    """Whether it is as new once more, when what was attached is detached and the memory given back."""
    attached = "select database_name from duckdb_databases() where not internal and database_name <> 'memory'"
    for (name,) in made.execute(attached).fetchall():
        made.execute(f'detach "{name}"')
    left = "select count(*) from duckdb_tables() where database_name = 'memory'"
    [(tables,)] = made.execute(left).fetchall()
    # It would keep as much as its largest reading took, perhaps gigabytes; for less memory it lets go of all of it.
    try:
        made.execute("set memory_limit = '1MB'")
    except duckdb.OutOfMemoryException:  # somebody holds a result that is not read to its end
        return False
    made.execute("reset memory_limit")
    if "memory_limit" in config:
        made.execute("set memory_limit = ?", [config["memory_limit"]])
    return not tables


def close_idle() -> None:
    """Close those that nobody uses."""
    for idle in _idle.values():
        while idle:
            idle.pop().close()


# A fork has none of their threads, and would wait for them; at the interpreter's end they would count as leaks.
os.register_at_fork(before=close_idle)
atexit.register(close_idle)
