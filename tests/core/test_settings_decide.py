"""A setting declares once, at its field, what it decides; all code that depends on that takes it from there.

Each test makes up a setting that decides only one part, and checks which results depend on it.
"""

from pathlib import Path
from typing import Annotated, get_args

import pytest
from conftest import Lineage
from pydantic import Field
from small_lineage import PAIR, SETTINGS, domains

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.scratch_splits import ScratchSplits
from ptupcdr_core.experiments import search
from ptupcdr_core.experiments.cells import CellStore
from ptupcdr_core.experiments.grid import Cell, ListCell
from ptupcdr_core.experiments.objectives import OBJECTIVES
from ptupcdr_core.methods import methods_of
from ptupcdr_core.settings import EVALUATED, Decides, Part, Settings
from ptupcdr_core.store.settings_file import write_settings_file
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.versions import RESULTS

PARTS = get_args(Part)


def made_up(part: Part) -> list[Settings]:
    """Two settings that differ in a made-up one, which decides this part."""

    class More(Settings):
        made_up: Annotated[int, Decides((part,))] = Field(default=1, description="made up")

    given = SETTINGS.model_dump()
    return [More(**given), More(**given, made_up=2)]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_decides(name: str) -> None:
    assert name in Settings.names_that_decide(*PARTS)


def test_a_setting_that_does_not_say_it_is_refused() -> None:
    class Silent(Settings):
        made_up: int = 1

    with pytest.raises(TypeError, match="the setting made_up does not say what it decides"):
        Silent().deciding("split")


@pytest.mark.parametrize("part", PARTS)
def test_a_split_is_made_by_what_decides_splits(lineage: Lineage, tmp_path: Path, part: Part) -> None:
    sides, scratch = domains(lineage.files), Warehouse(tmp_path)
    splits = ScratchSplits(
        Pair(source="books", target="movies"), *sides, Warehouse(lineage.home.warehouse), scratch=scratch
    )
    first, second = map(splits.of, made_up(part))
    assert (first.root != second.root) == (part == "split")
    with second.read("domain_splits", PAIR) as connection:
        [(kept,)] = connection.execute("select settings ->> 'made_up' from provenance").fetchall()
    assert kept == ("2" if part == "split" else None)


@pytest.mark.parametrize("part", PARTS)
def test_a_benchmarks_cell_is_told_by_what_decides_what_it_measures(tmp_path: Path, part: Part) -> None:
    [method] = methods_of("calibrated", ["item_mean"])
    first, second = (
        CellStore(tmp_path, "ratings").place(Cell(method, settings, ("calibrated",))) for settings in made_up(part)
    )
    assert (first != second) == (part in ("split", "rating"))
    first, second = (CellStore(tmp_path, "ratings").place(ListCell(settings)) for settings in made_up(part))
    assert (first != second) == (part in ("split", "ranking"))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("mode", OBJECTIVES)
def test_a_search_is_told_by_what_decides_its_mode(mode: str, part: Part) -> None:
    first, second = (search._study_name(OBJECTIVES[mode], settings, {}, "ratings") for settings in made_up(part))
    assert (first != second) == (part in ("split", mode))


@pytest.mark.parametrize("part", PARTS)
def test_a_settings_file_has_what_decides_an_evaluation(tmp_path: Path, part: Part) -> None:
    write_settings_file(tmp_path / "best.toml", made_up(part)[1], "")
    assert ("made_up = 2" in (tmp_path / "best.toml").read_text()) == (part in EVALUATED)


@pytest.mark.parametrize("part", PARTS)
def test_a_stage_is_made_again_for_what_it_reads(part: Part) -> None:
    first, second = made_up(part)
    heeding = {name for name, result in RESULTS.items() if result.relevant(first) != result.relevant(second)}
    for_cells_and_trials = {"benchmark", "benchmark_cell", "list_cell", "rating_trial", "ranking_trial"}
    # Recommendations come from what is deployed, whatever it was trained with: they go by its table's content.
    lineage = RESULTS.keys() - for_cells_and_trials - {"raw_ratings", "recommendations"}
    if part in ("rating", "ranking", "modes"):
        assert heeding - for_cells_and_trials == lineage - {"domain_splits"}
    else:
        expected = {
            "split": lineage,
            "deployment": {"deployed_model"},
            "recommendations": {"recommendations"},
        }
        assert heeding - for_cells_and_trials == expected[part]


def test_what_a_grid_varies_is_nothing_to_the_benchmark_as_a_whole() -> None:
    varied = {"recipe": "honest", "base_model": "gmf", "beta": 0.5, "seed": 1}
    assert set(Settings.names_varied()) == varied.keys()
    other = SETTINGS.model_copy(update=varied)
    assert RESULTS["benchmark"].relevant(other) == RESULTS["benchmark"].relevant(SETTINGS)
    assert RESULTS["benchmark_cell"].relevant(other) != RESULTS["benchmark_cell"].relevant(SETTINGS)
