"""All of a domain's files, one after the other, into the tables that cleaning starts from."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError, first_line
from ptupcdr_core.sources.databases import place, stage_postgres, stage_sqlite
from ptupcdr_core.sources.kept_reads import forget_others, keep, kept_read, restage
from ptupcdr_core.sources.layout import Layout, layout_of
from ptupcdr_core.sources.locate import locate
from ptupcdr_core.sources.people import Forgotten
from ptupcdr_core.sources.tables import refuse_packed, stage_added, stage_demo, stage_duckdb, stage_parquet
from ptupcdr_core.sources.text import reconcile, stage_csv, stage_jsonl
from ptupcdr_core.sources.verify import count_parquet, physical
from ptupcdr_core.sql import statement

Seen = TypeVar("Seen")
INTERRUPT_SECONDS = 0.05
"""Pause between interrupts of a running read, until it has stopped."""

log = logging.getLogger(__name__)


def stage(
    connection: duckdb.DuckDBPyConnection, domain: Domain, downloads: Path, reads: Path, forgotten: Forgotten
) -> None:
    """Fill the temporary tables ``staged``, ``unreadable`` and ``source_files``: all text, nothing judged yet.

    Rows keep their order: the files' by name, then the file's own. ``source_files.rows_read`` is counted here, before
    anything is rejected, so that all rows can be accounted for afterwards.

    Args:
        connection: takes the tables.
        domain: what to read.
        downloads: where downloaded copies are kept; none that names a forgotten person.
        reads: where the rows of each of several files are kept.
        forgotten: people whose rows are dropped.

    Raises:
        SourceError: a file is missing, damaged, or not as the catalog describes it.
    """
    connection.execute(statement("staging"))
    files: list[Path | None] = [*locate(domain, downloads)] or [None]
    kept = {path: kept_read(reads, domain, path) for path in files if path} if len(files) > 1 else {}
    forget_others(reads, kept.values())
    again = 0
    for index, path in enumerate(files):
        named = False
        with reading(domain, path):
            if path not in kept or not restage(connection, index, kept[path]):
                stage_file(connection, domain, path, index)
                again += 1
                named = forgotten.stand_in(connection, index)
                if path in kept and not named:
                    keep(connection, index, kept[path])
        count_file(connection, domain, path, index)
        if named and path and downloads in path.parents:
            path.unlink()  # our own copy, which names them
    log.info("domain %s: %d of %d files were read, the others are unchanged", domain.name, again, len(files))


@contextmanager
def reading(domain: Domain, path: Path | None) -> Iterator[None]:
    """Turn errors of DuckDB and the operating system about a file into one that says what to do.

    Raises:
        SourceError: in their place.
    """
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise  # not the file's fault
    except duckdb.Error as error:
        raise SourceError(
            f"domain {domain.name}: {path} cannot be read: {_reason(error)}; check that it is what "
            f"domains.{domain.name} in the catalog says, or get it anew"
        ) from error
    except OSError as error:
        raise SourceError(f"domain {domain.name}: {path} cannot be opened: {error.strerror}") from error


def count_file(connection: duckdb.DuckDBPyConnection, domain: Domain, path: Path | None, index: int) -> None:
    """Note in ``source_files`` how many rows were staged of a file."""
    ticks = layout_of(domain, path).ticks_per_second
    connection.execute(statement("count_file"), {"index": index, "file": file_name(domain, path), "ticks": ticks})


def file_name(domain: Domain, path: Path | None) -> str:
    """The name of a file, or of what else a domain is read from, in tables and messages."""
    return str(path or (place(domain) if domain.format == "postgres" else "demo"))


def stage_file(connection: duckdb.DuckDBPyConnection, domain: Domain, path: Path | None, index: int) -> None:
    """Stage one of a domain's files.

    Args:
        connection: has the tables of ``stage``.
        domain: what to read.
        path: the file; None where the domain has none.
        index: its place among the domain's files.

    Raises:
        SourceError: it is damaged, or not as the catalog describes it.
    """
    layout = layout_of(domain, path)
    if layout.kind == "postgres":
        stage_postgres(connection, domain, layout, index)
    elif path is None:
        stage_demo(connection, layout, index, domain.name)
    elif layout.kind == "parquet":
        _stage_parquet(connection, path, layout, index)
    elif layout.kind == "duckdb":
        stage_duckdb(connection, path, layout, index, domain.table or "")
    elif layout.kind == "sqlite":
        stage_sqlite(connection, path, domain, layout, index)
    elif layout.kind == "added":
        stage_added(connection, path, layout, index, domain.format)
    else:
        _stage_text(connection, path, layout, index)


def _stage_text(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int) -> None:
    read = stage_csv if layout.kind == "csv" else stage_jsonl
    with _beside(connection, lambda: physical(path, with_quotes=layout.kind == "csv")) as seen:
        read(connection, path, layout, index)
    reconcile(connection, path, layout, index, seen.result())


def _stage_parquet(connection: duckdb.DuckDBPyConnection, path: Path, layout: Layout, index: int) -> None:
    names = [name for name in layout.fields if name]
    refuse_packed(path)
    with _beside(connection, lambda: count_parquet(path, names)) as seen:
        stage_parquet(connection, path, layout, index)
    query = "select count(*) from staged where file_index = ?"
    [(found,)] = connection.execute(query, [index]).fetchall()
    if seen.result() not in (None, found):
        raise SourceError(f"{path}: {seen.result()} rows, of which DuckDB read {found}; write the file anew")


@contextmanager
def _beside(connection: duckdb.DuckDBPyConnection, look: Callable[[], Seen]) -> Iterator[Future[Seen]]:
    """Check the file in a thread while the block reads it; if the check fails, the block is stopped."""
    ended = threading.Event()

    def stop() -> None:
        # DuckDB forgets an interrupt that comes before the block's next statement has begun.
        connection.interrupt()
        while not ended.wait(INTERRUPT_SECONDS):
            connection.interrupt()

    def looked() -> Seen:
        with ExitStack() as failing:
            failing.callback(stop)
            seen = look()
            failing.pop_all()
            return seen

    with ThreadPoolExecutor(max_workers=1) as beside:
        seen = beside.submit(looked)
        try:
            yield seen
        finally:
            ended.set()
            # If the file is damaged, that is the message to give, whether the reading failed or not.
            seen.result()


def _reason(error: duckdb.Error) -> str:
    # The CSV reader's message for a file that ends some lines with \n and others with \r\n.
    if "state machine reached an invalid state" in str(error):
        return "its line ends are not all the same; make them so, for example with dos2unix"
    return first_line(error)
