"""Tables of PostgreSQL and SQLite: read as texts, in batches, always in the same order."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from ptupcdr_core.addresses import filled, scrubbed
from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError, first_line
from ptupcdr_core.sources.columns import wanted
from ptupcdr_core.sources.layout import Layout
from ptupcdr_core.sql import identifier

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

BATCH = 100_000
"""Rows read at a time."""
# One snapshot, and times as texts that do not depend on the server's time zone.
_SESSION = (
    "set transaction isolation level repeatable read read only",
    "set local timezone = 'UTC'",
    "set local datestyle = 'ISO'",
)
_FIELDS = pa.schema([(name, pa.string()) for name in ("user_id", "item_id", "rating", "timestamp")])


def stage_postgres(connection: duckdb.DuckDBPyConnection, domain: Domain, layout: Layout, index: int) -> None:
    """Stage a table or view of a PostgreSQL database, from one snapshot of it.

    Raises:
        SourceError: the server, the table or a column is not there, or not all rows arrived.
    """
    with _postgres(domain) as cursor:
        fields = wanted(layout, _columns(cursor, domain), place(domain))
        picked = [f'{identifier(name)}::text collate "C"' if name else "null::text" for name in fields]
        # Rows of a table have no order of their own, but which of two equal ones is the last must not depend on chance.
        cursor.execute(f"select {', '.join(picked)} from {_quoted(domain)} order by 1, 2, 4, 3")  # nosec B608 # quoted
        _insert(connection, cursor.fetch_record_batch(), index)
        cursor.execute(f"select count(*) from {_quoted(domain)}")  # nosec B608 # quoted
        [(there,)] = cursor.fetchall()
    query = "select count(*) from staged where file_index = ?"
    [(found,)] = connection.execute(query, [index]).fetchall()
    if found != there:
        raise SourceError(f"{place(domain)}: {there} rows, of which {found} came; run again")


def postgres_state(domain: Domain) -> list[Any]:
    """A value that changes when a row does: the number of rows, and the sum of their hashes, made by the server.

    Raises:
        SourceError: the server or the table is not there.
    """
    with _postgres(domain) as cursor:
        cursor.execute(
            f"select count(*), coalesce(sum(hashtextextended(entry::text, 0)), 0)::text from {_quoted(domain)} as entry"  # nosec B608 # quoted
        )
        return [str(value) for value in cursor.fetchall()[0]]


def stage_sqlite(connection: duckdb.DuckDBPyConnection, path: Path, domain: Domain, layout: Layout, index: int) -> None:
    """Stage a table or view of a SQLite file, in its own order.

    Raises:
        SourceError: it is not a SQLite file, or the table or a column is not there.
    """
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        ) as source:
            rows = source.execute(f"select * from {_quoted(domain)} limit 0")  # nosec B608 # quoted
            fields = wanted(layout, [column[0] for column in rows.description], place(domain))
            picked = [f"cast({identifier(name)} as text)" if name else "null" for name in fields]
            rows = source.execute(f"select {', '.join(picked)} from {_quoted(domain)}")  # nosec B608 # quoted
            _insert(connection, pa.RecordBatchReader.from_batches(_FIELDS, _batches(rows)), index)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # UnicodeDecodeError: a damaged column name
        raise SourceError(
            f"{place(domain)} cannot be read: {error}; check path and table of domains.{domain.name} in the catalog"
        ) from error


def sqlite_files(path: Path) -> list[Path]:
    """The file, and its write-ahead log (``-wal``) if there is one."""
    return [file for file in (path, path.with_name(f"{path.name}-wal")) if file.is_file()]


def place(domain: Domain) -> str:
    """Where the rows come from, for tables and messages."""
    return f"{domain.shown_path} {domain.table}"


def _quoted(domain: Domain) -> str:
    return ".".join(identifier(part) for part in (domain.table or "").split("."))


def _insert(connection: duckdb.DuckDBPyConnection, rows: pa.RecordBatchReader, index: int) -> None:
    connection.register("database_rows", rows)
    try:
        connection.execute("insert into staged select ?, *, null from database_rows", [index])
    finally:
        connection.unregister("database_rows")


def _batches(rows: sqlite3.Cursor) -> Iterator[pa.RecordBatch]:
    while found := rows.fetchmany(BATCH):
        yield pa.record_batch([pa.array(column, pa.string()) for column in zip(*found, strict=True)], schema=_FIELDS)


def _columns(cursor: "Cursor", domain: Domain) -> Sequence[str]:
    cursor.execute(f"select * from {_quoted(domain)} limit 0")  # nosec B608 # quoted
    cursor.fetchall()
    return [column[0] for column in cursor.description or ()]


@contextmanager
def _postgres(domain: Domain) -> "Iterator[Cursor]":
    try:
        import adbc_driver_postgresql.dbapi as postgres
    except ImportError as error:
        raise SourceError(
            f"domain {domain.name}: format postgres needs a driver: pip install 'ptupcdr-dagster[postgres]'"
        ) from error
    address = filled(domain.path or "")
    try:
        with closing(postgres.connect(address)) as server, closing(server.cursor()) as cursor:
            for statement in _SESSION:
                cursor.execute(statement)
            yield cursor
    except postgres.Error as error:
        # Raised without its causes: they may hold the address.
        raise SourceError(
            f"{place(domain)} cannot be read: {scrubbed(first_line(error), address)}; check path and table of "
            f"domains.{domain.name} in the catalog, and that the server lets this user read the table"
        ) from None
