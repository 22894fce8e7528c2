"""Reading a small table, such as of items or people, from a file."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from ptupcdr_core.errors import SourceError, first_line
from ptupcdr_core.sources.verify import count_parquet, physical
from ptupcdr_core.sql import file_literal
from ptupcdr_core.store.instances import instance

_DELIMITED = "read_csv({file}, all_varchar = true, header = true, delim = '%s', quote = '\"', escape = '\"')"
SCANS = {
    "csv": _DELIMITED % ",",
    "parquet": "read_parquet({file}, binary_as_string=true)",
    "jsonl": "(select unnest(json_transform(json, '{keys}')) from read_ndjson_objects({file}))",
    "tsv": _DELIMITED % "\t",
}


def read_table(path: Path, names: Sequence[str], kind: str | None = None) -> pa.Table:
    """The table in a file: from JSON lines the named columns that some line has, from other kinds all columns.

    Args:
        path: of the file.
        names: the wanted columns.
        kind: one of ``SCANS``; None: by the ending of the name, before .gz if it has that.

    Raises:
        SourceError: the file is missing or damaged, or of none of these kinds.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    kind = kind or next((ending[1:] for ending in path.suffixes[-2:] if ending[1:] in SCANS), None)
    if kind is None:
        raise SourceError(f"{path}: its name must end in {', '.join('.' + kind for kind in SCANS)} (or that and .gz)")
    if kind == "parquet":
        count_parquet(path, names)
    else:
        physical(path, with_quotes=False)
    keys = "{" + ", ".join(f'"{name}": "VARCHAR"' for name in names) + "}"
    scan = SCANS[kind].replace("{file}", file_literal(path)).replace("{keys}", keys.replace("'", "''"))
    with instance() as connection:
        connection.execute("set enable_progress_bar = false")
        try:
            table: pa.Table = connection.sql(f"select * from {scan}").to_arrow_table()  # nosec B608 # quoted
        except duckdb.Error as error:
            raise SourceError(f"{path} cannot be read: {first_line(error)}") from error
    if kind == "jsonl":
        table = table.select([name for name in table.column_names if table[name].null_count < len(table)])
    return table


def texts(table: pa.Table, names: Sequence[str], path: Path, remedy: str) -> list[list[str | None]]:
    """These columns of a table as texts.

    Raises:
        SourceError: one is missing; the message names those there are, and the remedy.
    """
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise SourceError(f"{path}: no column {', '.join(missing)}; it has {', '.join(table.column_names)}. {remedy}")
    return [table[name].cast(pa.string()).to_pylist() for name in names]
