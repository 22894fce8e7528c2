"""Cached rows of each file, for domains with several files: the next run reads only new and changed files again.

A file's rows are kept as they were staged, before anything is judged, so that cleaning gives the same result whether a
file was read now or earlier. Pages have checksums; a damaged cache is read from its file again.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.catalog import Domain
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.versions import RESULTS

BATCH = 100_000
"""Rows written or read at a time."""


def kept_read(folder: Path, domain: Domain, file: Path) -> Path:
    """Where the rows of a file are kept; another place once the file, or how it is read, has changed."""
    state = file.stat()
    read_by = domain.model_dump(mode="json", include={"format", "columns", "table", "feedback"})
    identity = [RESULTS["raw_ratings"].version, read_by, str(file), state.st_size, state.st_mtime_ns]
    return folder / f"{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]}.parquet"


def keep(connection: duckdb.DuckDBPyConnection, index: int, path: Path) -> None:
    """Write what was staged of one file.

    Raises:
        StorageError: it cannot be written.
    """
    rows = connection.sql(
        'select user_id, item_id, rating, "timestamp", fault, null::bigint as source_row from staged '
        "where file_index = $1 union all "
        "select null, null, null, null, fault, source_row from unreadable where file_index = $1",
        params=[index],
    ).to_arrow_reader(BATCH)
    with replaced(path) as temporary, pq.ParquetWriter(temporary, rows.schema, write_page_checksum=True) as file:
        for batch in rows:
            file.write_batch(batch)


def restage(connection: duckdb.DuckDBPyConnection, index: int, path: Path) -> bool:
    """Stage the kept rows of one file; return False, with nothing staged, where they are missing or damaged."""
    if not path.is_file():
        return False
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = pa.Table.from_batches(file.iter_batches(batch_size=BATCH), file.schema_arrow)
    except (OSError, pa.ArrowInvalid):
        return False
    connection.register("kept_rows", rows)
    connection.execute(
        'insert into staged select $1, user_id, item_id, rating, "timestamp", fault from kept_rows '
        "where source_row is null",
        [index],
    )
    connection.execute(
        "insert into unreadable select $1, source_row, fault from kept_rows where source_row is not null", [index]
    )
    connection.unregister("kept_rows")
    return True


def forget_others(folder: Path, present: Iterable[Path]) -> None:
    """Remove what was kept of files that are gone or have changed."""
    wanted = set(present)
    for path in folder.glob("*.parquet"):
        if path not in wanted:
            path.unlink(missing_ok=True)
