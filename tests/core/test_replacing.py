"""A replaced file is the complete old or the complete new one: on a full disk, after an error, after a power cut."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from file_server import serving
from full_disk import files, small_disk

from ptupcdr_core.errors import StorageError
from ptupcdr_core.experiments.cells import CellStore
from ptupcdr_core.experiments.grid import Cell
from ptupcdr_core.methods import methods_of
from ptupcdr_core.report.store import write_report
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.download import fetch
from ptupcdr_core.store import artifacts, views
from ptupcdr_core.store.database import replaced_database
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.settings_file import write_settings_file
from ptupcdr_core.store.warehouse import STORAGE, Warehouse


def put(warehouse: Warehouse, rows: int, partition: str = "a__b", table: str = "numbers") -> None:
    with warehouse.write("numbers", partition, fingerprint=f"made of {rows}") as connection:
        connection.execute(f'create table "{table}" as select hash(i)::varchar as value from range({rows}) as t(i)')


def get(warehouse: Warehouse) -> tuple[int, str]:
    with warehouse.read("numbers", "a__b") as connection:
        query = "select (select count(value) from numbers), (select fingerprint from provenance)"
        return connection.execute(query).fetchall()[0]


@pytest.mark.parametrize("kilobytes", [1400, 1800, 2048, 2400, 2800])
def test_a_table_that_does_not_fit_leaves_the_old_one(tmp_path: Path, kilobytes: int) -> None:
    """Without a checkpoint of its own DuckDB closes in silence, and the new file holds no table."""
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        warehouse = Warehouse(disk / "warehouse", threads=1)
        put(warehouse, 20_000)
        before = files(disk)
        with pytest.raises(StorageError, match=r"a__b\.duckdb cannot be written: no space left in .*numbers; .* free"):
            put(warehouse, 40_000)
        assert get(warehouse) == (20_000, "made of 20000")
        with duckdb.connect(str(warehouse.catalog), read_only=True) as connection:
            assert connection.execute("select count(*) from numbers").fetchall() == [(20_000,)]
        assert files(disk) == before, "no temporary is left"


def test_the_first_table_that_does_not_fit_is_not_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        warehouse = Warehouse(disk / "warehouse", threads=1)
        with pytest.raises(StorageError, match="no space left"):
            put(warehouse, 20_000)
        assert not warehouse.exists("numbers", "a__b")
        assert files(disk) == []


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:

        def save(size: int) -> None:
            artifacts.save(disk / "models", "a__b", {"x": np.ones(size)}, split="v", manifest={})

        save(10_000)
        before = files(disk)
        with pytest.raises(StorageError, match=r"\.safetensors cannot be written: no space left in .*models"):
            save(100_000)
        assert artifacts.load(disk / "models", "a__b", split="v").tensors["x"].shape == (10_000,)
        assert files(disk) == before


@pytest.mark.parametrize("kilobytes", [0, 20, 200])
def test_a_catalog_of_views_that_does_not_fit_leaves_the_old_one(tmp_path: Path, kilobytes: int) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        warehouse = Warehouse(disk / "warehouse", threads=1)
        put(warehouse, 10)
        (disk / "filler").write_bytes(b"0" * (shutil.disk_usage(disk).free - kilobytes * 1024))
        before = files(disk)
        with pytest.raises(StorageError, match=r"ptupcdr\.duckdb cannot be written: no space left in .*warehouse;"):
            views.rebuild(warehouse.root, warehouse.catalog, STORAGE)
        with duckdb.connect(str(warehouse.catalog), read_only=True) as connection:
            assert connection.execute("select count(*) from numbers").fetchall() == [(10,)]
        assert files(disk) == before


def test_a_report_and_settings_that_do_not_fit_leave_the_old_ones(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        page, settings = disk / "reports" / "a__b.html", disk / "a__b.toml"
        write_report(page, "old")
        write_settings_file(settings, Settings(), "old")
        with pytest.raises(StorageError, match=r"a__b\.html cannot be written: no space left"):
            write_report(page, "new" * 100_000)
        with pytest.raises(StorageError, match=r"a__b\.toml cannot be written: no space left"):
            write_settings_file(settings, Settings(), "new" * 100_000)
        assert page.read_text() == "old"
        assert settings.read_text().startswith("# old")
        assert files(disk) == ["a__b.toml", "reports/a__b.html"]


def test_a_cell_that_does_not_fit_leaves_the_others(tmp_path: Path) -> None:
    def save(seed: int, rows: int) -> None:
        cell = Cell(methods_of("published", ["tgt"])[0], Settings(seed=seed), ("published",))
        cells.save(cell, {name: pd.DataFrame({"error": np.random.default_rng(0).random(rows)}) for name in Cell.tables})

    with small_disk(tmp_path / "disk", 256) as disk:
        cells = CellStore(disk / "cells", "ratings")
        save(0, 100)
        before = files(disk)
        with pytest.raises(StorageError, match=r"cells/\w+ cannot be written: no space left in .*cells;"):
            save(1, 100_000)
        assert files(disk) == before


@pytest.mark.parametrize("etag", [None, '"one"'], ids=["fetched anew", "gone on with"])
def test_a_download_that_does_not_fit_is_fetched_when_there_is_room(tmp_path: Path, etag: str | None) -> None:
    content = np.random.default_rng(0).bytes(400_000)
    with small_disk(tmp_path / "disk", 600) as disk, serving() as server:
        server.files["a.csv"], server.etag = content, etag
        (disk / "filler").write_bytes(b"0" * 400_000)
        before = files(disk)
        with pytest.raises(StorageError, match=r"a\.csv\.part cannot be written: no space left in .*downloads;"):
            fetch(server.address("a.csv"), disk / "downloads")
        kept = set(files(disk)) - set(before)
        assert bool(kept) == bool(etag), "what cannot be gone on with would only fill the disk"
        (disk / "filler").unlink()
        assert fetch(server.address("a.csv"), disk / "downloads").read_bytes() == content
        assert server.ranges[0] is None
        assert bool(server.ranges[1]) == bool(etag)
        assert len(files(disk)) == 1


def test_a_database_whose_log_is_left_beside_it_is_refused(tmp_path: Path) -> None:
    @contextmanager
    def connect(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(str(path)) as connection:
            yield connection
        path.with_name(f"{path.name}.wal").write_bytes(b"rows that are not in the file")

    with (
        pytest.raises(StorageError, match=r"numbers\.duckdb was not written whole .* log .* free some space"),
        replaced_database(tmp_path / "numbers.duckdb", connect) as connection,
    ):
        connection.execute("create table numbers as select 1 as one")
    assert files(tmp_path) == []


def test_rows_that_are_not_in_the_file_are_missed(tmp_path: Path) -> None:
    """The file is read again before it is put in place, whatever DuckDB said when it closed."""

    @contextmanager
    def connect(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(str(path)) as connection:
            yield connection
            connection.execute("delete from numbers where one = 2")

    with (
        pytest.raises(StorageError, match=r"numbers\.duckdb holds {'numbers': 1} after {'numbers': 2} was written"),
        replaced_database(tmp_path / "numbers.duckdb", connect) as connection,
    ):
        connection.execute("create table numbers as select unnest([1, 2]) as one")
    assert files(tmp_path) == []


def test_content_and_name_are_on_the_disk_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is flushed before the rename, the folders that name it after; else a power cut leaves it empty."""
    done: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        done.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def note_rename(old: Path, new: Path) -> None:
        done.append(("rename", new.name))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_rename)
    with replaced(tmp_path / "new" / "file") as temporary:
        temporary.write_text("content")
    assert done == [
        ("fsync", tmp_path.name),
        ("fsync", temporary.name),
        ("rename", "file"),
        ("fsync", "new"),
    ]
    done.clear()
    put(Warehouse(tmp_path / "warehouse", threads=1), 3)
    steps = [(what, "temporary" if name.endswith(".tmp") else name) for what, name in done]
    for folder, file in (("numbers", "a__b.duckdb"), ("warehouse", "ptupcdr.duckdb")):
        at = steps.index(("rename", file))
        assert steps[at - 1] == ("fsync", "temporary")
        assert steps[at + 1] == ("fsync", folder)


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with replaced(tmp_path / "cell") as temporary:
        temporary.mkdir()
        (temporary / "table").write_text("content")
        assert not (tmp_path / "cell").exists()
    assert files(tmp_path) == ["cell/table"]
    with pytest.raises(StorageError, match="not empty"), replaced(tmp_path / "cell") as temporary:
        shutil.copytree(tmp_path / "cell", temporary)
    assert files(tmp_path) == ["cell/table"]


def test_errors_of_the_block_pass_and_leave_nothing(tmp_path: Path) -> None:
    """A file that the block may not read is another file than the one that it writes."""

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise PermissionError(errno.EACCES, "Permission denied", "somebody's.csv")

    with pytest.raises(PermissionError, match=r"somebody's\.csv"), replaced(tmp_path / "file") as temporary:
        write(temporary)
    assert files(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_what_may_not_be_written_is_named(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with (
        pytest.raises(StorageError, match=rf"file cannot be written \({os.strerror(number)}\): allow it, or set"),
        replaced(tmp_path / "file") as temporary,
    ):
        temporary.write_text("content")
    assert files(tmp_path) == []
