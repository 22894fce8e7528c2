"""Small ratings files of every format, and what was kept of them: shared by the tests of ingestion."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.sources.ingest import IngestReport, ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

Row = tuple[str, str, float, int]

ROWS: list[Row] = [
    ("ann", "0001", 5.0, 100),
    ("ann", "0002", 1.0, 200),
    ("bob", "0001", 3.5, 300),
    ("çelik", "☃", 4.0, 50),
]
WITH_TIME = Columns(timestamp="timestamp")
WITHOUT_TIME = Columns()


def pack(path: Path, content: bytes, compression: str | None = None) -> Path:
    """Write a file plain, or compressed with gzip or zstd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if compression is None:
        path.write_bytes(content)
    else:
        with pa.CompressedOutputStream(str(path), compression) as stream:
            stream.write(content)
    return path


def as_delimited(rows: Sequence[Sequence[Any]], delimiter: str = ",", header: bool = True) -> bytes:
    lines = [["user_id", "item_id", "rating", "timestamp"]] if header else []
    return "".join(delimiter.join(map(str, row)) + "\n" for row in [*lines, *rows]).encode()


def as_json_lines(rows: Sequence[Row], keys: Sequence[str] = ("user_id", "item_id", "rating", "timestamp")) -> bytes:
    return "".join(json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet(path: Path, rows: Sequence[Row], compression: str = "snappy", **options: Any) -> Path:
    columns = dict(zip(("user_id", "item_id", "rating", "timestamp"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path, compression=compression, **options)
    return path


def as_duckdb(path: Path, rows: Sequence[Row], table: str = "ratings") -> Path:
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table {table} (user_id varchar, item_id varchar, rating double, timestamp bigint)")
        connection.executemany(f"insert into {table} values (?, ?, ?, ?)", rows)
    return path


def domain(path: Path | str, format: str = "csv", name: str = "books", **more: Any) -> Domain:
    own: dict[str, Any] = {"scale": (1, 5), "columns": WITH_TIME} | more
    return Domain(name=name, format=format, path=str(path), **own)


def ingest(warehouse: Warehouse, path: Path | str, format: str = "csv", **more: Any) -> IngestReport:
    return ingest_domain(domain(path, format, **more), warehouse)


def kept(warehouse: Warehouse, name: str = "books") -> list[tuple[Any, ...]]:
    with warehouse.read("raw_ratings", name) as connection:
        return connection.execute('select user_id, item_id, rating, "timestamp" from raw_ratings').fetchall()


def rejected(warehouse: Warehouse, name: str = "books") -> list[tuple[str, int]]:
    """(reason, row number) of what was left out, in the order of the files."""
    with warehouse.read("raw_ratings", name) as connection:
        return connection.execute("select reason, source_row from rejected_ratings").fetchall()


def holding(folder: Path, *secrets: str) -> list[Path]:
    """The files below a folder that hold one of the secrets, in their name or content."""
    wanted = [secret.encode() for secret in secrets]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(secret in bytes(path) + path.read_bytes() for secret in wanted)]
