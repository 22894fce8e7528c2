"""Instances of DuckDB in memory to read from, kept for the next reader, since making one takes longer than most
reads."""

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
"""Idle instances kept per configuration; readers are seldom nested deeper."""


def says_full(error: duckdb.Error) -> bool:
    """Whether DuckDB failed because a disk is full: its errors carry no number."""
    return "No space left on device" in str(error) or "max_temp_directory_size" in str(error)


def open_database(path: Path | None, config: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """A new separate instance, of a file or in memory.

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
    """A connection to an empty instance that nobody else uses meanwhile.

    Databases may be attached, temporary tables, views and macros created, variables set: all of it is gone afterwards.

    Args:
        config: DuckDB's settings, such as limits of memory and threads.
        spill: a folder for what does not fit in memory, removed at the end; it must not exist yet.

    Raises:
        WarehouseError: the configuration is refused.
        StorageError: it cannot be opened.
    """
    idle = _idle.setdefault((spill is None, *sorted((config or {}).items())), [])
    try:
        made = idle.pop()  # a single step, so that two threads never get the same one
    except IndexError:
        made = open_database(None, config or {})
    whole = False
    try:
        with made.cursor() as connection:
            if spill:
                connection.execute("set temp_directory = ?", [str(spill)])
            yield connection
        # After spilling, DuckDB keeps to that folder.
        whole = _emptied(made, config or {}) and not (spill and spill.exists())
    finally:
        if whole and len(idle) < KEPT:
            idle.append(made)
        else:
            made.close()
        if spill:
            shutil.rmtree(spill, ignore_errors=True)


def _emptied(made: duckdb.DuckDBPyConnection, config: Mapping[str, Any]) -> bool:
    """Detach databases and give memory back; return whether the instance is as good as new."""
    attached = "select database_name from duckdb_databases() where not internal and database_name <> 'memory'"
    for (name,) in made.execute(attached).fetchall():
        made.execute(f'detach "{name}"')
    left = "select count(*) from duckdb_tables() where database_name = 'memory'"
    [(tables,)] = made.execute(left).fetchall()
    # It would keep the memory of its largest read, perhaps gigabytes; a low limit makes it give all of that back.
    try:
        made.execute("set memory_limit = '1MB'")
    except duckdb.OutOfMemoryException:  # a result that is not read to its end is still held
        return False
    made.execute("reset memory_limit")
    if "memory_limit" in config:
        made.execute("set memory_limit = ?", [config["memory_limit"]])
    return not tables


def close_idle() -> None:
    """Close idle instances."""
    for idle in _idle.values():
        while idle:
            idle.pop().close()


# A forked process lacks their threads and would wait for them; at the interpreter's end they would count as leaks.
os.register_at_fork(before=close_idle)
atexit.register(close_idle)
