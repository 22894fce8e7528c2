"""Some hundred generated files: the right rows, or an error that names the file and says what to do.

``make attack`` makes ten thousand of them.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from generated_files import HIGH, LOW, Made, damaged, damages, files, write
from hypothesis import example, given, settings

from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.ingest import IngestReport, ingest_domain

FILES = int(os.environ.get("PTUPCDR_ATTACK_FILES", "120")) // 2
REMEDY = re.compile(r"anew|catalog|mend |convert|rename |unpack |make them so|line ends all the same")
ENDS = (("", "\r", "1", "0"), ("the", "last", "3", "1"))
"""The first line end of a file stands within quotes."""
KEPT = tempfile.TemporaryDirectory(prefix="generated-")
FOLDER = Path(KEPT.name)


class Unstored:
    """In place of a warehouse: tables in memory, since to store ten thousand would take hours."""

    root = FOLDER / "warehouse"
    raw_ratings: list[tuple]

    @contextmanager
    def write(self, *_: str, **__: Any) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
            yield connection
            query = 'select user_id, item_id, rating, "timestamp" from raw_ratings'
            self.raw_ratings = connection.execute(query).fetchall()


def read(path: Path, format: str) -> tuple[IngestReport, list[tuple]]:
    told: dict[str, Any] = {"table": "ratings"} if format in ("duckdb", "sqlite") else {}
    if not format.startswith("amazon"):
        told["columns"] = Columns(timestamp="timestamp")
    domain = Domain(name="books", format=format, path=str(path), scale=(LOW, HIGH), **told)
    unstored = Unstored()
    return ingest_domain(domain, unstored), unstored.raw_ratings


def read_or_message(path: Path, format: str) -> tuple[IngestReport, list[tuple]] | str:
    try:
        return read(path, format)
    except SourceError as error:
        return str(error)


@settings(max_examples=FILES, deadline=None)
@given(made=files())
@example(made=Made("amazon-2018", ENDS, b'"\r","","1","0"\r\n"last","the","3","1"\r\n', None))
def test_of_a_whole_file_the_right_rows_are_kept_and_all_others_counted(made: Made) -> None:
    report, rows = read(write(made, FOLDER), made.format)
    assert {row[:2]: row[2:] for row in rows} == made.kept()
    assert (report.rows_read, report.kept) == (len(made.rows), len(made.kept()))
    assert sum(report.rejected.values()) == len(made.rows) - len(made.kept())


@settings(max_examples=FILES, deadline=None)
@given(made=files(), damage=damages())
def test_of_a_damaged_file_no_row_goes_missing_or_the_error_says_what_to_do(
    made: Made, damage: tuple[str, float, float, bytes]
) -> None:
    path = write(made, FOLDER)
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, damage))
    outcome = read_or_message(path, made.format)
    if isinstance(outcome, str):
        assert str(path) in outcome, "names the file"
        assert REMEDY.search(outcome), "says what to do"
        return
    report, rows = outcome
    assert report.rows_read == report.kept + sum(report.rejected.values())
    assert len({row[:2] for row in rows}) == len(rows) == report.kept
    if made.format == "parquet":
        assert {row[:2]: row[2:] for row in rows} == made.kept(), "its pages have checksums"
    if made.lines and not made.packed:
        lines = [line for line in re.split(rb"\r\n|\n|\r", path.read_bytes()) if line.strip(b" \t\r")]
        assert report.rows_read == len(lines)
