"""A pair with more ratings than ``most_ratings``: some people are read of it, models and lists are made from all."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_lineage import PAIR, SETTINGS, domains, read, run, write_ratings

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import PairData, Ratings, load_pair, user_ids
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.data.warm_split import load_warm_split
from ptupcdr_core.gate.judged import judged
from ptupcdr_core.modes.ranking import checkpoints as ranking
from ptupcdr_core.modes.rating import checkpoints as rating
from ptupcdr_core.report.facts import gather
from ptupcdr_core.report.groups import lists_of_test_users
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import CANDIDATE, SplitPeople, bundle_file
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

MOST = 10_000
"""Of 17,585 ratings, of which overlapping people have 12,906."""
Rows = set[tuple[str, int, float]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, dict[str, StageReport]]:
    folder = tmp_path_factory.mktemp("sampled")
    settings = SETTINGS.model_copy(update={"most_ratings": MOST, "mode": "both", "ranking_size": 8})
    home = Home(folder / "home")
    return home, run(home, domains(write_ratings(folder)), settings)


@pytest.fixture
def home(reports: tuple[Home, dict[str, StageReport]]) -> Home:
    return reports[0]


@pytest.fixture
def some(home: Home) -> PairData:
    return load_pair(Warehouse(home.warehouse), PAIR)


@pytest.fixture
def everybody(home: Home) -> PairData:
    return load_pair(Warehouse(home.warehouse), PAIR, everybody=True)


def test_about_so_many_ratings_are_read_and_half_of_them_are_of_overlapping_people(
    some: PairData, everybody: PairData
) -> None:
    def ratings(data: PairData, *cohorts: str) -> int:
        users = np.concatenate([data.cohorts[name] for name in cohorts])
        parts = data.source, data.target_train, data.target_validation, data.target_test
        return sum(len(part.of_users(users, data.user_count)) for part in parts)

    overlapping, others = ("test", "validation", "bridge"), ("cold", "target_only")
    assert (ratings(everybody, *overlapping), ratings(everybody, *others)) == (12_906, 4_679)
    assert ratings(some, *overlapping) == pytest.approx(MOST - 4_679, rel=0.15), "they get what others leave, too"
    assert ratings(some, *others) == 4_679


def test_those_who_are_read_keep_ratings_cohorts_and_histories(home: Home, some: PairData, everybody: PairData) -> None:
    warehouse, people = Warehouse(home.warehouse), some.people
    assert people is not None
    assert everybody.people is None
    ids, all_ids = user_ids(warehouse, some), user_ids(warehouse, everybody)
    assert ids.tolist() == all_ids[people].tolist()

    def rows(ratings: Ratings, of: np.ndarray) -> Rows:
        return set(zip(of[ratings.users].tolist(), ratings.items.tolist(), ratings.stars.tolist(), strict=True))

    for part in ("source", "target_train", "target_validation", "target_test"):
        theirs = getattr(everybody, part).of_users(people, everybody.user_count)
        assert rows(getattr(some, part), ids) == rows(theirs, all_ids) != set()
    for name, users in some.cohorts.items():
        assert set(people[users]) == set(everybody.cohorts[name]) & set(people)
    np.testing.assert_array_equal(some.histories, everybody.histories[people])
    np.testing.assert_array_equal(some.history_stars, everybody.history_stars[people])
    halves = load_warm_split(warehouse, PAIR, "test")
    assert set(halves.users) == set(some.cohorts["test"])


def test_base_models_are_made_from_everybody_and_read_for_some(home: Home, some: PairData, everybody: PairData) -> None:
    all_sides, sides = rating.load_sides(home, everybody), rating.load_sides(home, some)
    for model, whole in ((sides.source, all_sides.source), (sides.target, all_sides.target)):
        for name, tensor in whole.tensors().items():
            rows = len(tensor) == everybody.user_count + 1 if tensor.ndim else False
            np.testing.assert_array_equal(model.tensors()[name], tensor[some.people] if rows else tensor)
    own, whole_side = (ranking.load_sides(home, data).target for data in (some, everybody))
    np.testing.assert_array_equal(own.user_embedding, whole_side.user_embedding[some.people])
    np.testing.assert_array_equal(own.item_embedding, whole_side.item_embedding)


def test_the_bridge_is_measured_on_those_who_are_read_and_serves_everybody(
    home: Home, some: PairData, reports: tuple[Home, dict[str, StageReport]]
) -> None:
    test = set(user_ids(Warehouse(home.warehouse), some)[some.cohorts["test"]])
    for asset, table in (
        ("cold_start_evaluation", "cold_start_errors"),
        ("cold_start_evaluation", "cold_start_rankings"),
        ("fine_tuned_embeddings", "fine_tuned_embeddings"),
        ("warm_start_evaluation", "warm_start_errors"),
    ):
        assert {user for (user,) in read(home, asset, f"select distinct user_id from {table}")} == test, table
    cold = "select count(*) from split_users where cohort in ('cold', 'test')"
    [(served,)] = read(home, "domain_splits", cold)
    assert read(home, "bridged_embeddings", "select count(*) from bridged_embeddings") == [(2 * served,)]
    assert read(home, "recommendations", "select count(distinct user_id) from recommendations") == [(served,)]
    for stage in ("meta_network", "cold_start_evaluation"):
        assert reports[1][stage].metrics["people_read"] == some.user_count


def test_everybody_is_bridged_as_the_bundle_does_it(home: Home, everybody: PairData) -> None:
    warehouse, ids = Warehouse(home.warehouse), user_ids(Warehouse(home.warehouse), everybody)
    for mode, served in Bundle.load(bundle_file(home, CANDIDATE, PAIR)).modes.items():
        people = SplitPeople.of(warehouse, PAIR, served)(everybody.cold_users)
        expected, _ = served.part.embed(people, pa.array(ids[everybody.cold_users], pa.string()))
        stored = read(home, "bridged_embeddings", f"from bridged_embeddings where mode = '{mode}' order by user_id")
        np.testing.assert_allclose(np.array([row[4] for row in stored]), expected, atol=1e-6)


def test_the_gate_and_the_report_read_the_same_people(home: Home, some: PairData) -> None:
    test = user_ids(Warehouse(home.warehouse), some)[some.cohorts["test"]].tolist()
    for model in judged(home, PAIR, Bundle.load(bundle_file(home, CANDIDATE, PAIR))).values():
        assert model.users.tolist() == test
    assert len(gather(home, PAIR).errors.counts) == len(test)
    assert len(lists_of_test_users(home, PAIR).items) == len(test)


def test_more_ratings_only_add_people(home: Home, tmp_path: Path) -> None:
    def people(most: int) -> set[str]:
        scratch, settings = Warehouse(tmp_path / str(most)), SETTINGS.model_copy(update={"most_ratings": most})
        pair, warehouse = Pair(source="books", target="movies"), Warehouse(home.warehouse)
        books, movies = (Domain(name=name, format="parquet", path="not read") for name in ("books", "movies"))
        build_split(pair, books, movies, warehouse, settings, into=scratch)
        return set(user_ids(scratch, load_pair(scratch, PAIR)))

    assert people(2_000) < people(4_000) < people(8_000) < people(16_000) < people(17_585)


def test_where_folding_in_gives_other_vectors_everybodys_trained_ones_are_known(tmp_path: Path) -> None:
    """As in the reference's recipes, whose factors are no least-squares solutions."""
    changed = {"recipe": "honest", "epochs": 1, "most_ratings": MOST, "no_gate": True}
    home = Home(tmp_path / "home")
    run(home, domains(write_ratings(tmp_path)), SETTINGS.model_copy(update=changed))
    everybody = load_pair(Warehouse(home.warehouse), PAIR, everybody=True)
    task, bridges = rating.load_task_and_bridges(home, everybody)
    expected = bridges.personal.embed(task, everybody.cold_users)
    stored = read(home, "bridged_embeddings", "select embedding from bridged_embeddings order by user_id")
    np.testing.assert_allclose(np.array([row[0] for row in stored]), expected, atol=1e-6)


def test_a_bundle_says_how_many_ratings_its_target_model_was_trained_on(home: Home, everybody: PairData) -> None:
    for served in Bundle.load(bundle_file(home, CANDIDATE, PAIR)).modes.values():
        assert served.origin.target_ratings == len(everybody.target_train)
