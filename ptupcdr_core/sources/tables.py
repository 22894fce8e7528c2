"""Parquet files, DuckDB tables and generated ratings: sources that know their own columns."""

from pathlib import Path

import duckdb

from ptupcdr_core.errors import SourceError
from ptupcdr_core.extensions import reader_of
from ptupcdr_core.sources import demo
from ptupcdr_core.sources.columns import wanted
from ptupcdr_core.sources.layout import Layout
from ptupcdr_core.sources.verify import compression_of
from ptupcdr_core.sql import file_literal, identifier, literal


def stage_parquet(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int) -> None:
    """Stage a Parquet file, whatever codec it uses inside.

    Raises:
        SourceError: a column is missing.
    """
    # Old writers do not mark bytes as text.
    _stage(connection, f"read_parquet({file_literal(path)}, binary_as_string=true)", path, layout, index)


def refuse_packed(path: Path) -> None:
    """Refuse a Parquet file that is compressed as a whole.

    Raises:
        SourceError: it is.
    """
    packed = compression_of(path)
    if packed:
        raise SourceError(f"{path}: {packed} around a Parquet file, which compresses inside itself; unpack it first")


def stage_duckdb(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int, table: str) -> None:
    """Stage a table or view of a DuckDB file; ``table`` may name its schema, ``schema.table``.

    Raises:
        SourceError: there is no such table, or a column is missing.
    """
    alias = f"source_{index}"
    connection.execute(f"attach {literal(path)} as {alias} (read_only)")
    try:
        name = ".".join(identifier(part) for part in table.split("."))
        _stage(connection, f"{alias}.{name if '.' in table else 'main.' + name}", path, layout, index)
    finally:
        connection.execute(f"detach {alias}")


def stage_demo(connection: duckdb.DuckDBPyConnection, layout: Layout, index: int, domain: str) -> None:
    """Stage the generated ratings of a domain."""
    connection.register("demo_ratings", demo.generate(domain))
    _stage(connection, "demo_ratings", Path("demo"), layout, index)
    connection.unregister("demo_ratings")


def stage_added(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int, name: str) -> None:
    """Stage a file of a format that an installed package adds.

    Raises:
        SourceError: a column is missing, or the package's reader fails on the file.
    """
    try:
        table = reader_of(name)(path)
    except (ValueError, LookupError) as error:
        raise SourceError(f"{path}: the reader of format {name} cannot read it ({error})") from error
    connection.register("added_ratings", table)
    _stage(connection, "added_ratings", path, layout, index)
    connection.unregister("added_ratings")


def _stage(connection: duckdb.DuckDBPyConnection, relation: str, path: Path, layout: Layout, index: int) -> None:
    names = [row[0] for row in connection.execute(f"describe from {relation}").fetchall()]
    fields = wanted(layout, names, path)
    picked = ", ".join(f"{identifier(name)}::varchar" if name else "null" for name in fields)
    connection.execute(f"insert into staged select {index}, {picked}, null from {relation}")  # nosec B608 # quoted
