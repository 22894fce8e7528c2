"""DuckDB files that are replaced in one step, and only by a file that holds all that was written.

DuckDB may close without an error where the disk is full: the rows are then in the log beside the file, not in it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import duckdb

from ptupcdr_core.errors import StorageError
from ptupcdr_core.sql import identifier, literal
from ptupcdr_core.store.instances import instance, says_full
from ptupcdr_core.store.replacing import no_space, replaced

REMEDY = "the old one stays: free some space or check the disk, and run again"
Connect = Callable[[Path], AbstractContextManager[duckdb.DuckDBPyConnection]]


@contextmanager
def replaced_database(path: Path, connect: Connect) -> Iterator[duckdb.DuckDBPyConnection]:
    """An open connection to a new file that takes the place of ``path`` when the block ends without an error.

    Args:
        path: the file; folders above it are made.
        connect: opens the new one.

    Raises:
        StorageError: it cannot be written whole; the old one stays.
    """
    try:
        with replaced(path) as temporary:
            with connect(temporary) as connection:
                yield connection
                written = _content(connection)
                # Closing does this too, but fails silently.
                connection.execute("checkpoint")
            # Only the file itself is put in place, so nothing may be left beside it.
            if any(temporary.parent.glob(f"{temporary.name}.*")):
                raise StorageError(
                    f"{path} was not written whole (DuckDB left a log beside it, as on a full disk); {REMEDY}"
                )
            _require(written, temporary, path)
    except duckdb.Error as error:
        if says_full(error):
            raise no_space(path) from error
        raise


def read_all(connection: duckdb.DuckDBPyConnection) -> None:
    """Read every row of the database in use, and of files that its views read: DuckDB then tests all blocks' checksums.

    Raises:
        duckdb.Error: something cannot be read.
    """
    for table in relations(connection):
        connection.execute(f"select bit_xor(hash(row_read)) from {identifier(table)} as row_read").fetchall()  # nosec B608 # quoted


def not_finite(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Columns of the database in use, as ``table.column``, that hold NaN or an infinite number, also within lists."""
    columns = connection.execute(
        "select table_name, column_name, data_type from duckdb_columns() where database_name = current_database() "
        "and not internal and regexp_matches(data_type, '^(FLOAT|DOUBLE)')"
    ).fetchall()
    return [f"{table}.{column}" for table, column, kind in columns if _has_no_number(connection, table, column, kind)]


def _has_no_number(connection: duckdb.DuckDBPyConnection, table: str, column: str, kind: str) -> bool:
    name = identifier(column)
    # Any NaN or infinity in a list makes its sum NaN or infinite too.
    value = f"list_sum({name}::double[])" if kind.endswith("]") else name
    query = f"select count(*) from {identifier(table)} where not isfinite({value})"  # nosec B608 # quoted
    [(amount,)] = connection.execute(query).fetchall()
    return bool(amount)


def _content(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows by table, and the views, of the database in use."""
    counts = {}
    for table in _tables(connection):
        [(counts[table],)] = connection.execute(f"select count(*) from {identifier(table)}").fetchall()  # nosec B608 # quoted
    # A view is not counted, since it reads other files.
    return counts | dict.fromkeys(view_bodies(connection), 0)


def relations(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables and views of the database in use, sorted by name."""
    return sorted([*_tables(connection), *view_bodies(connection)])


def view_bodies(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The select statements of the views of the database in use, by name."""
    query = "select view_name, sql from duckdb_views() where database_name = current_database() and not internal"
    return {name: sql.partition(" AS ")[2].rstrip(";") for name, sql in connection.execute(query).fetchall()}


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    query = "select table_name from duckdb_tables() where database_name = current_database()"
    return [name for (name,) in connection.execute(query).fetchall()]


def _require(written: dict[str, int], temporary: Path, path: Path) -> None:
    with instance({"threads": 1}) as connection:
        try:
            connection.execute(f"attach {literal(temporary)} as written (read_only)")
            connection.execute("use written")
            found = _content(connection)
        except duckdb.Error as error:
            raise StorageError(f"{path} cannot be read after it was written ({error}); {REMEDY}") from error
    if found != written:
        raise StorageError(f"{path} holds {found} after {written} was written; {REMEDY}")
