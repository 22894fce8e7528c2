"""What another version stored is refused, with the file's name and a remedy, or ignored and made again."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.experiments.cells import CellStore
from ptupcdr_core.experiments.grid import Cell, Grid, units_of
from ptupcdr_core.experiments.objectives import OBJECTIVES
from ptupcdr_core.experiments.search import _study_name
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.settings import Settings
from ptupcdr_core.store import artifacts, formats
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.settings_file import read_settings_file, write_settings_file
from ptupcdr_core.store.tables import write_tables
from ptupcdr_core.store.warehouse import Warehouse

Act = Callable[[Path], object]


def write_table(root: Path) -> None:
    write_tables(Warehouse(root), "numbers", "a__b", {"numbers": pa.table({"n": [1]})}, Settings(), "f")


def read_table(root: Path) -> object:
    with Warehouse(root).read("numbers", "a__b") as connection:
        return connection.execute("select n from numbers").fetchall()


def write_checkpoint(root: Path) -> None:
    artifacts.save(root / "source_model", "a__b", {"x": np.ones(2)}, split="v", manifest={})


STORED: dict[str, tuple[Act, Act, str]] = {
    "HOME": (
        lambda root: Home(root).claim(),
        lambda root: Home.from_environment({"PTUPCDR_HOME": str(root)}),
        r"home\.json: a home of format 99.*set PTUPCDR_HOME to another folder",
    ),
    "TABLES": (
        write_table,
        read_table,
        r"a__b\.duckdb: a file of tables of format 99.*materialize numbers for a__b again",
    ),
    "CHECKPOINT": (
        write_checkpoint,
        lambda root: artifacts.load(root / "source_model", "a__b", split="v"),
        r"a__b\.json: a checkpoint of format 99.*materialize source_model for a__b again",
    ),
    "BUNDLE": (
        lambda root: Bundle("a__b", {}).save(root / "b.safetensors"),
        lambda root: Bundle.load(root / "b.safetensors"),
        r"b\.safetensors: a bundle of format 99.*deploy the pair again",
    ),
    "SETTINGS_FILE": (
        lambda root: write_settings_file(root / "best.toml", Settings(), "found"),
        lambda root: read_settings_file(root / "best.toml"),
        r"best\.toml: settings of format 99.*write it again with `ptupcdr tune`",
    ),
}


@pytest.mark.parametrize("kind", STORED)
def test_what_a_later_version_stored_is_refused_with_the_remedy(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read, message = STORED[kind]
    write(tmp_path)
    read(tmp_path)  # what this version wrote it reads
    monkeypatch.setattr(formats, kind, 99)
    write_by_later = tmp_path / "later"
    write_by_later.mkdir()
    write(write_by_later)
    monkeypatch.undo()
    with pytest.raises(PtupcdrError, match=message):
        read(write_by_later)


def test_a_file_without_a_number_is_older_and_refused_too(tmp_path: Path) -> None:
    with Warehouse(tmp_path)._new(tmp_path / "old.duckdb") as connection:
        connection.execute("create table provenance as select 'f' as fingerprint, '{}' as settings")
    (tmp_path / "numbers").mkdir()
    (tmp_path / "old.duckdb").rename(tmp_path / "numbers" / "a__b.duckdb")
    with pytest.raises(PtupcdrError, match="without a format number, and this version reads format 1; materialize"):
        read_table(tmp_path)


def test_settings_by_hand_may_leave_the_number_out(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("beta = 0.5\n")
    assert read_settings_file(tmp_path / "mine.toml") == {"beta": 0.5}


def place_of_cell() -> str:
    grid = Grid(betas=(0.3,), seeds=(1,), base_models=("mf",), methods=("item_mean",), recipes=("honest",))
    [unit] = units_of(grid, Settings())
    [cell] = unit.cells
    assert isinstance(cell, Cell)
    return str(CellStore(Path("cells"), "ratings").place(cell))


def name_of_search() -> str:
    return _study_name(OBJECTIVES["rating"], Settings(), {}, hashlib.sha256(b"ratings").hexdigest())


@pytest.mark.parametrize(("kind", "place"), [("CELL", place_of_cell), ("SEARCH", name_of_search)])
def test_cells_and_searches_of_another_format_are_not_found(
    kind: str, place: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = place()
    assert place() == ours
    monkeypatch.setattr(formats, kind, 99)
    assert place() != ours
