"""Least squares in blocks on Spark: the same base models as on one machine, and what a stopped training leaves."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_lineage import PAIR, domains, write_ratings

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.row_engine import Embedded
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training import calibrated, implicit

pytest.importorskip("pyspark", reason="pyspark is not installed: make test does so where it finds Java")

from ptupcdr_spark import pretraining
from ptupcdr_spark.blocks import Side
from ptupcdr_spark.engine import SPARK
from ptupcdr_spark.steps import Steps

pytestmark = pytest.mark.usefixtures("spark")
SETTINGS = Settings(embedding_size=6, ranking_size=8)
ITERATIONS = 2
TOLERANCE = 2e-6
"""Of every number of a model, beside the largest of its table: float32 has 24 bits, 6e-8 of a number."""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("split")
    home, sides = Home(root / "home"), domains(write_ratings(root))
    warehouse = Warehouse(home.warehouse)
    for side in sides:
        ingest_domain(side, warehouse)
    build_split(Pair.of(PAIR), *sides, warehouse, SETTINGS)
    return home


@pytest.fixture(autouse=True)
def few_iterations_in_several_blocks() -> Iterator[None]:
    with (
        mock.patch.object(calibrated, "ITERATIONS", ITERATIONS),
        mock.patch.object(implicit, "ITERATIONS", ITERATIONS),
        mock.patch.object(pretraining, "BLOCK", 5_000),
    ):
        yield


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


@pytest.mark.parametrize("side", ["source", "target"])
def test_models_of_both_modes_are_those_of_one_machine(split: Home, side: str, tmp_path: Path) -> None:
    reports, found = [], []
    for engine in (Embedded(), SPARK):
        home = Home(shutil.copytree(split.root, tmp_path / type(engine).__name__))
        with mock.patch.object(artifacts, "require_finite", wraps=artifacts.require_finite) as written:
            reports.append(engine.pretrain(home, PAIR, side, SETTINGS, silent))
        assert not reports[-1].notes, "each has trained"
        found.append({file.parent.name: load_file(file) for file in reports[-1].files if file.suffix == ".safetensors"})
    expected, made = found
    pieces = [len(piece) for call in written.call_args_list for piece in call.args[0].values() if piece.ndim]
    assert max(pieces) <= len(expected[f"{side}_model"]["user_counts"]) / 2 + 1, "written a block at a time"
    assert made.keys() == expected.keys()
    for model, tensors in expected.items():
        assert made[model].keys() == tensors.keys()
        for name, tensor in tensors.items():
            scale = np.abs(tensor).max(initial=0)
            np.testing.assert_allclose(made[model][name], tensor, rtol=0, atol=TOLERANCE * scale, err_msg=name)
    assert reports[1].metrics == pytest.approx(reports[0].metrics, rel=1e-6)
    assert not any((home.least_squares / PAIR).iterdir()), "nothing is left of what is done"


def test_a_source_that_was_trained_once_is_not_trained_again_on_either_engine(split: Home, tmp_path: Path) -> None:
    home = Home(shutil.copytree(split.root, tmp_path / "home"))
    trained = Embedded().pretrain(home, PAIR, "source", SETTINGS, silent)
    before = {file.name: file.read_bytes() for file in trained.files if file.suffix == ".safetensors"}
    with mock.patch.object(Steps, "step", side_effect=AssertionError("it trains")):
        taken = SPARK.pretrain(home, PAIR, "source", SETTINGS, silent)
    assert taken.notes == {"rating_trained_for": PAIR, "ranking_trained_for": PAIR}
    assert (taken.metrics, taken.curves) == (trained.metrics, trained.curves)
    assert before == {file.name: file.read_bytes() for file in taken.files if file.suffix == ".safetensors"}


def test_a_training_that_was_stopped_goes_on_after_what_was_written(split: Home, tmp_path: Path) -> None:
    home, settings = (
        Home(shutil.copytree(split.root, tmp_path / "home")),
        SETTINGS.model_copy(update={"mode": "ranking"}),
    )
    made: list[str] = []

    def stopped_at(count: int) -> "mock._patch[object]":
        def step(self: Side, *arguments: object, **named: object) -> object:
            if len(made) == count:
                raise KeyboardInterrupt
            made.append("step")
            return begin(self, *arguments, **named)

        begin = Side.step
        return mock.patch.object(Side, "step", step)

    with stopped_at(3), pytest.raises(KeyboardInterrupt):
        SPARK.pretrain(home, PAIR, "target", settings, silent)
    [left] = (home.least_squares / PAIR).iterdir()
    assert {file.stem for file in left.glob("*.npy")} == {
        *("ranking-counts", "ranking-items-00", "ranking-users-01", "ranking-items-01"),
    }
    report: list[int] = []
    with stopped_at(5):
        SPARK.pretrain(home, PAIR, "target", settings, lambda epoch, metrics: report.append(epoch))
    assert len(made) == 5, "users and items of the second iteration, and nothing before"
    assert report == [1, 2], "what is told of the first one was written too"
    assert not left.exists()


def test_of_other_settings_nothing_is_gone_on_with(split: Home, tmp_path: Path) -> None:
    home = Home(shutil.copytree(split.root, tmp_path / "home"))
    stale = home.least_squares / PAIR / "target-0123456789abcdef"
    stale.mkdir(parents=True)
    with mock.patch.object(Steps, "step", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        SPARK.pretrain(home, PAIR, "target", SETTINGS, silent)
    assert not stale.exists()


def test_recipes_of_gradient_steps_are_refused(split: Home) -> None:
    with pytest.raises(SettingsError, match=r"on Spark .* the recipe honest is not trained: its gradient steps"):
        SPARK.pretrain(split, PAIR, "source", SETTINGS.model_copy(update={"recipe": "honest"}), silent)
