"""Domains of many files: only what is new or changed is read again, and the tables are those of reading everything."""

import os
import time
from pathlib import Path
from unittest import mock

import pytest
from ratings_files import Row, as_delimited, as_parquet, domain, pack

from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources import staging
from ptupcdr_core.sources.fingerprint import source_fingerprint
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

TABLES = ("raw_ratings", "rejected_ratings", "ingest_counts")


def rows_of(part: int, stars: int = 3) -> list[Row]:
    """Some of an earlier part's items are rated again, earlier or later, and one row is off the scale."""
    rows: list[Row] = [
        (f"user{n}", f"item{n + part}", 1.0 + (n + stars) % 5, (n * 7 + part * 13) % 50) for n in range(20)
    ]
    return [*rows, ("user0", "item0", 9.0, part)]


def write(folder: Path, part: int, stars: int = 3, format: str = "csv") -> Path:
    path = folder / f"day={part // 2}" / f"part-{part:03d}.{format}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if format == "parquet":
        return as_parquet(path, rows_of(part, stars))
    return pack(path, as_delimited(rows_of(part, stars)) + b"short\n")


def tables(warehouse: Warehouse) -> list[list[tuple]]:
    with warehouse.read("raw_ratings", "books") as connection:
        return [connection.execute(f"from {table}").fetchall() for table in TABLES]


def read_again(warehouse: Warehouse, folder: Path | str, format: str = "csv", **more: object) -> int:
    """How many files were read, not taken from what was kept."""
    with mock.patch.object(staging, "stage_file", wraps=staging.stage_file) as reading:
        ingest_domain(domain(folder, format, **more), warehouse)
    return reading.call_count


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_only_new_and_changed_files_are_read_and_the_tables_are_those_of_reading_all(
    tmp_path: Path, format: str
) -> None:
    files, warehouse = tmp_path / "files", Warehouse(tmp_path / "home" / "warehouse", threads=2)
    for part in range(12):
        write(files, part, format=format)
    assert read_again(warehouse, files, format) == 12
    assert read_again(warehouse, files, format) == 0
    write(files, 3, stars=4, format=format)  # corrected
    write(files, 12, format=format)  # new
    late = write(files, 1, format=format).rename(files / "day=0" / f"part-0005.{format}")  # one is gone, one came late
    assert read_again(warehouse, files, format) == 3
    afresh = Warehouse(tmp_path / "afresh" / "warehouse", threads=2)
    assert read_again(afresh, files, format) == 13
    assert tables(warehouse) == tables(afresh)
    assert any(str(late) in row for row in tables(warehouse)[2])
    assert len(list((tmp_path / "home" / "reads" / "books").iterdir())) == 13, "nothing is kept of files that are gone"


def test_what_was_kept_and_is_damaged_is_read_from_its_file(tmp_path: Path) -> None:
    files, warehouse = tmp_path / "files", Warehouse(tmp_path / "home" / "warehouse", threads=2)
    for part in range(3):
        write(files, part)
    read_again(warehouse, files / "*" / "*.csv")
    before = tables(warehouse)
    for count, kept in enumerate((tmp_path / "home" / "reads" / "books").iterdir()):
        content = kept.read_bytes()
        kept.write_bytes(content[:100] if count else content[:40] + bytes([content[40] ^ 4]) + content[41:])
    assert read_again(warehouse, files / "*" / "*.csv") == 3
    assert tables(warehouse) == before


def test_another_way_to_read_a_file_reads_it_again_and_another_scale_does_not(tmp_path: Path) -> None:
    files, warehouse = tmp_path / "files", Warehouse(tmp_path / "home" / "warehouse", threads=2)
    for part in range(3):
        write(files, part)
    read_again(warehouse, files)
    assert read_again(warehouse, files, scale=(1, 10)) == 0
    assert read_again(warehouse, files, columns={"user": "item_id", "item": "user_id"}) == 3


def test_files_that_are_being_written_are_left_for_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, warehouse = tmp_path / "files", Warehouse(tmp_path / "home" / "warehouse", threads=2)
    old, new = write(files, 0), write(files, 2)
    pack(files / "_temporary" / "part-009.csv", b"half a li")
    os.utime(old, (time.time() - 3600,) * 2)
    settled = domain(files, settled_seconds=600)
    first = source_fingerprint(settled)
    ingest_domain(settled, warehouse)
    assert {row[1] for row in tables(warehouse)[2]} == {str(old)}
    assert "1 files are still being written and left out" in caplog.text
    os.utime(new, (time.time() - 3600,) * 2)
    assert source_fingerprint(settled) != first, "so that the next backfill reads it"
    with pytest.raises(SourceError, match=r"all 2 files of .* are still being written .* run again later"):
        ingest_domain(domain(files, marker="_SUCCESS"), warehouse)
    (files / "day=1" / "_SUCCESS").touch()
    ingest_domain(domain(files, marker="_SUCCESS"), warehouse)
    assert {row[1] for row in tables(warehouse)[2]} == {str(new)}
