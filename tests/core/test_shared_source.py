"""Pairs with one source train its model once, and each has the numbers that it would have trained by itself."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import load_pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.modes.ranking import mode as ranking
from ptupcdr_core.modes.rating import mode as rating
from ptupcdr_core.serving.forgetting import forget
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources import demo
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.store.artifacts import Tensors, load
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

SOURCE, TARGETS = "books", ("movies", "music")
PAIRS = FIRST, SECOND = "books__movies", "books__music"
SETTINGS = Settings(embedding_size=4, ranking_size=6)
OF_FIRST = {"rating_trained_for": FIRST, "ranking_trained_for": FIRST}
FOLDERS = ("source_model", "source_model_ranking")


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


def domain(folder: Path, name: str) -> Domain:
    return Domain(name=name, format="parquet", path=str(folder / f"{name}.parquet"))


def split(home: Home, folder: Path, settings: Settings = SETTINGS) -> None:
    for target in TARGETS:
        sides = domain(folder, SOURCE), domain(folder, target)
        build_split(Pair(source=SOURCE, target=target), *sides, Warehouse(home.warehouse), settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two split pairs with one source, of 300 of the demo's people, and the first one's source model."""
    root = tmp_path_factory.mktemp("shared")
    home = Home(root / "home")
    for name in (SOURCE, *TARGETS):
        table = demo.generate(name)
        pq.write_table(table.filter(pc.less(table["user_id"], "person-00300")), root / f"{name}.parquet")
        ingest_domain(domain(root, name), Warehouse(home.warehouse))
    split(home, root)
    assert pretrain(home, FIRST, "source", SETTINGS, silent).notes == {}
    return home


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(made.root.parent, tmp_path / "copy")) / "home")


@pytest.fixture
def trainings() -> Iterator[list[str]]:
    """Each training that is begun, by the mode's name."""
    begun: list[str] = []

    def counted(mode: str, train: object) -> object:
        return lambda *given: (begun.append(mode), train(*given))[1]  # type: ignore[operator]

    with (
        mock.patch.object(rating, "train_side", counted("rating", rating.train_side)),
        mock.patch.object(ranking, "train_side", counted("ranking", ranking.train_side)),
    ):
        yield begun


def models(home: Home, pair: str) -> dict[str, Tensors]:
    split = load_pair(Warehouse(home.warehouse), pair).split
    return {folder: load(home.models / folder, pair, split=split).tensors for folder in FOLDERS}


def trained_alone(home: Home, pair: str, settings: Settings = SETTINGS) -> dict[str, Tensors]:
    """The pair's models where no other pair has one."""
    for folder in FOLDERS:
        shutil.rmtree(home.models / folder)
    assert pretrain(home, pair, "source", settings, silent).notes == {}
    return models(home, pair)


def same(one: dict[str, Tensors], other: dict[str, Tensors]) -> bool:
    return all(
        one[model].keys() == other[model].keys()
        and all(np.array_equal(tensor, other[model][name]) for name, tensor in one[model].items())
        for model in one
    )


def test_the_second_pair_trains_nothing_and_has_every_bit_of_its_own_training(home: Home, trainings: list[str]) -> None:
    told: list[tuple[int, tuple[str, ...]]] = []
    report = pretrain(home, SECOND, "source", SETTINGS, lambda epoch, metrics: told.append((epoch, tuple(metrics))))
    assert trainings == []
    assert report.notes == OF_FIRST
    taken, told_of_taken = models(home, SECOND), told.copy()
    told.clear()
    first = models(home, FIRST)
    assert len(taken["source_model"]["user_counts"]) != len(first["source_model"]["user_counts"]), (
        "the pairs number their users differently"
    )
    alone = trained_alone(home, SECOND)
    assert trainings == ["rating", "ranking"]
    assert same(taken, alone)
    again = pretrain(home, SECOND, "source", SETTINGS, lambda epoch, metrics: told.append((epoch, tuple(metrics))))
    assert (again.metrics, again.curves) == (report.metrics, report.curves)
    assert told == told_of_taken, "the page's and MLflow's curves are those of the training"


def test_rows_are_put_in_place_whatever_the_size_of_a_batch(home: Home) -> None:
    with mock.patch("ptupcdr_core.modes.shared_source.AT_ONCE", 7), mock.patch("ptupcdr_core.store.tensors.ROWS", 11):
        assert pretrain(home, SECOND, "source", SETTINGS, silent).notes == OF_FIRST
    assert same(models(home, SECOND), trained_alone(home, SECOND))


def test_settings_of_other_parts_train_nothing(home: Home, trainings: list[str]) -> None:
    others = SETTINGS.model_copy(update={"beta": 0.5, "history_length": 3, "validation_fraction": 0.3, "top_k": 3})
    split(home, home.root.parent, others)
    assert pretrain(home, SECOND, "source", others, silent).notes == OF_FIRST
    assert trainings == []
    assert same(models(home, SECOND), trained_alone(home, SECOND, others))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": 3}, ["rating", "ranking"]),
        ({"embedding_size": 5}, ["rating"]),
        ({"ranking_size": 7}, ["ranking"]),
        ({"meta_hidden_size": 8}, ["rating", "ranking"]),
        ({"learning_rate": 0.5}, ["rating"]),
        ({"recipe": "honest", "mode": "rating", "epochs": 1}, ["rating"]),
    ],
)
def test_what_is_made_from_something_else_is_trained(
    home: Home, trainings: list[str], change: dict[str, object], expected: list[str]
) -> None:
    pretrain(home, SECOND, "source", SETTINGS.model_copy(update=change), silent)
    assert trainings == expected


def test_a_pairs_own_model_stands_when_only_its_split_is_new(home: Home, trainings: list[str]) -> None:
    other = SETTINGS.model_copy(update={"beta": 0.4})
    split(home, home.root.parent, other)
    assert pretrain(home, FIRST, "source", other, silent).notes == OF_FIRST
    assert trainings == []
    models(home, FIRST)  # it is one of the new split


@pytest.mark.parametrize("column", ["rating", "timestamp"])
def test_one_changed_number_in_the_source_trains_again(home: Home, trainings: list[str], column: str) -> None:
    folder = home.root.parent
    file = folder / f"{SOURCE}.parquet"
    table = pq.read_table(file).to_pandas()
    table.loc[5, column] = 1 if table.loc[5, column] != 1 else 2
    table.to_parquet(file)
    ingest_domain(domain(folder, SOURCE), Warehouse(home.warehouse))
    split(home, folder)
    pretrain(home, SECOND, "source", SETTINGS, silent)
    assert trainings == ["rating", "ranking"]


def test_of_a_forgotten_person_nothing_is_taken(home: Home, trainings: list[str]) -> None:
    """No table is kept beside the pairs' checkpoints, which hold no ids, so there is nothing more to forget."""
    before = {*home.root.rglob("*.safetensors")}
    assert pretrain(home, SECOND, "source", SETTINGS, silent).notes == OF_FIRST
    assert {file.parent.name for file in {*home.root.rglob("*.safetensors")} - before} == {*FOLDERS}
    person = str(pq.read_table(home.root.parent / f"{SOURCE}.parquet")["user_id"][0])
    forget(home, [person])
    pretrain(home, SECOND, "source", SETTINGS, silent)
    assert trainings == ["rating", "ranking"], "what was trained on that person's ratings is not used again"


def test_a_damaged_model_is_not_taken(home: Home, trainings: list[str]) -> None:
    [weights] = (home.models / "source_model").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert pretrain(home, SECOND, "source", SETTINGS, silent).notes == {"ranking_trained_for": FIRST}
    assert trainings == ["rating"]


def test_who_trained_it_is_told_on(home: Home) -> None:
    pretrain(home, SECOND, "source", SETTINGS, silent)
    for folder in FOLDERS:
        (home.models / folder / f"{FIRST}.json").unlink()
    assert pretrain(home, FIRST, "source", SETTINGS, silent).notes == OF_FIRST
    manifest = json.loads((home.models / "source_model" / f"{FIRST}.json").read_text())
    assert manifest["trained_for"] == FIRST
    assert manifest["made_of"] == json.loads((home.models / "source_model" / f"{SECOND}.json").read_text())["made_of"]


def test_pairs_side_by_side_train_once(home: Home, trainings: list[str]) -> None:
    for folder in FOLDERS:
        shutil.rmtree(home.models / folder)
    with ThreadPoolExecutor(2) as pool:
        reports = [*pool.map(lambda pair: pretrain(home, pair, "source", SETTINGS, silent), PAIRS)]
    assert sorted(trainings) == ["ranking", "rating"]
    assert sum(len(report.notes) for report in reports) == 2
