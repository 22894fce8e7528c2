"""All of a domain's files, one after the other, into the tables that cleaning starts from."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.layout import Layout, layout_of
from ptupcdr_core.sources.locate import locate
from ptupcdr_core.sources.tables import stage_added, stage_demo, stage_duckdb, stage_parquet
from ptupcdr_core.sources.text import reconcile, stage_csv, stage_jsonl
from ptupcdr_core.sources.verify import physical
from ptupcdr_core.sql import statement


def stage(connection: duckdb.DuckDBPyConnection, domain: Domain, downloads: Path) -> None:
    """Fill the temporary tables ``staged``, ``unreadable`` and ``source_files``: all text, nothing judged yet.

    Rows keep their order: the files' by name, then the file's own. ``source_files.rows_read`` is counted here, before
    anything is thrown out, so that the books can be balanced afterwards.

    Raises:
        SourceError: a file is missing, damaged, or not as the catalog describes it.
    """
    connection.execute(statement("staging"))
    for index, path in enumerate(locate(domain, downloads) or [None]):
        layout = layout_of(domain, path)
        try:
            _stage_file(connection, domain, path, layout, index)
        except duckdb.OutOfMemoryException:
            raise  # no fault of the file
        except duckdb.Error as error:
            raise SourceError(f"domain {domain.name}: {path} cannot be read: {_reason(error)}") from error
        except OSError as error:
            raise SourceError(f"domain {domain.name}: {path} cannot be opened: {error.strerror}") from error
        connection.execute(
            statement("count_file"), {"index": index, "file": str(path or "demo"), "ticks": layout.ticks_per_second}
        )


def _stage_file(
    connection: duckdb.DuckDBPyConnection, domain: Domain, path: Path | None, layout: Layout, index: int
) -> None:
    if path is None:
        stage_demo(connection, layout, index, domain.name)
    elif layout.kind == "parquet":
        stage_parquet(connection, path, layout, index)
    elif layout.kind == "duckdb":
        stage_duckdb(connection, path, layout, index, domain.table or "")
    elif layout.kind == "added":
        stage_added(connection, path, layout, index, domain.format)
    else:
        _stage_text(connection, path, layout, index)


def _stage_text(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int) -> None:
    read = stage_csv if layout.kind == "csv" else stage_jsonl
    with ThreadPoolExecutor(max_workers=1) as beside:
        second_look = beside.submit(physical, path, with_quotes=layout.kind == "csv")
        try:
            read(connection, path, layout, index)
        finally:
            # A damaged file is why the reading failed, or why it should have: that is the message to give.
            seen = second_look.result()
    reconcile(connection, path, layout, index, seen)


def _reason(error: duckdb.Error) -> str:
    # What the CSV reader says of a file that ends some lines with \n and others with \r\n.
    if "state machine reached an invalid state" in str(error):
        return "its line ends are not all the same; make them so, for example with dos2unix"
    return str(error).splitlines()[0]
