"""Warm start: the halves of a user's ratings, the tuning on them, and its gain where structure is planted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Lineage
from small_lineage import PAIR, read
from small_pair import calibrated_models, small_pair

from ptupcdr_core.data.pair_data import Ratings, Scale
from ptupcdr_core.data.warm_split import KNOWN, WarmSplit, load_warm_split
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.modes.rating.warm_start import folded_in, tuned_method
from ptupcdr_core.stages.warm_start import evaluate_warm_start, fine_tune
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.calibrated_model import REGULARIZATION
from ptupcdr_core.training.fine_tuning import RidgeTuning, StepTuning, choose_tuning

ITEMS = TargetItems(
    vectors=np.array([[0, 0], [1, 0], [0, 2], [1, 1]], np.float32), offset=np.array([0, 3, 3.5, 4], np.float32)
)


def ratings(*rows: tuple[int, int, float]) -> Ratings:
    users, items, stars = zip(*rows, strict=True)
    return Ratings(np.array(users, np.int32), np.array(items, np.int32), np.array(stars, np.float32))


def tuples(found: Ratings) -> list[tuple[int, int]]:
    return list(zip(found.users.tolist(), found.items.tolist(), strict=True))


# The split


@pytest.fixture
def split() -> WarmSplit:
    """User 4 has five ratings, the items in the order of time being 3, 1, 5, 2, 4; user 7 has one; user 9 has two."""
    rated = ratings((4, 1, 1), (4, 2, 2), (4, 3, 3), (4, 4, 4), (4, 5, 5), (7, 1, 5), (9, 2, 4), (9, 6, 2))
    return WarmSplit.of(rated, np.array([1, 3, 0, 4, 2, 0, 1, 0]))


def test_the_first_half_is_the_older_one_and_the_middle_one_is_predicted(split: WarmSplit) -> None:
    assert tuples(split.first) == [(4, 3), (4, 1), (9, 6)]
    assert tuples(split.second) == [(4, 2), (4, 4), (4, 5), (7, 1), (9, 2)]
    assert split.users.tolist() == [4, 7, 9], "a user with one rating has nothing known, and is predicted"


@pytest.mark.parametrize(
    ("amount", "counts"), [("0", [0, 0, 0]), ("1", [1, 0, 1]), ("2", [2, 0, 1]), ("8", [2, 0, 1]), ("half", [2, 0, 1])]
)
def test_known_ratings_are_the_first_ones(split: WarmSplit, amount, counts: list[int]) -> None:
    assert split.counts(amount).tolist() == counts
    known = split.known(amount)
    assert tuples(known) == tuples(split.first.where(split.place < max(counts)))
    assert split.rows(known).tolist() == np.repeat([0, 1, 2], counts).tolist()


@pytest.mark.parametrize("part", ["test", "validation"])
def test_halves_go_by_time_then_item_id(lineage: Lineage, part) -> None:
    halves = load_warm_split(Warehouse(lineage.home.warehouse), PAIR, part)
    when = {
        (user, item): (at, item)
        for user, item, at in read(
            lineage.home, "domain_splits", 'select user_index, item_index, "timestamp" from split_target_ratings'
        )
    }
    for user in halves.users:
        first, second = (
            [when[pair] for pair in tuples(half) if pair[0] == user] for half in (halves.first, halves.second)
        )
        assert first == sorted(first)
        assert max(first) < min(second)
        assert len(second) - len(first) in (0, 1)


def test_without_timestamps_the_file_orders_the_halves(lineage: Lineage, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with warehouse.write("domain_splits", PAIR) as connection:
        connection.execute("create table split_summary as select 1 as overlapping_read, 1 as others_read")
        connection.execute(
            "create table split_target_ratings as select 'test' as part, 3 as user_index, i::integer as item_index, "
            '4 as rating, null::bigint as "timestamp", place from (values (9, 0), (2, 3), (7, 1), (4, 2)) t(i, place)'
        )
    halves = load_warm_split(warehouse, PAIR, "test")
    assert (tuples(halves.first), tuples(halves.second)) == ([(3, 9), (3, 7)], [(3, 2), (3, 4)])


# Tuning


def test_the_ridge_update_by_hand() -> None:
    # User 0 knows items 1 and 2: residuals 4 - (3 + .5) = .5 and 3 - (3.5 + 2 · -.25) = 0; Σ y yᵀ = diag(1, 4).
    # User 1 knows item 3: residual 5 - 4 - 1 = 0. User 2 knows nothing.
    start = np.array([[0.5, -0.25], [1, 0], [7, 7]], np.float32)
    known = ratings((1, 1, 4), (1, 2, 3), (2, 3, 5))
    tuned = RidgeTuning(3.0, np.ones(2, np.float32))(start, ITEMS, np.array([0, 0, 1]), known)
    np.testing.assert_allclose(tuned, [[0.5 + 0.5 / (1 + 3), -0.25], [1, 0], [7, 7]], rtol=1e-6)


def test_reach_is_a_penalty_of_each_coordinates_own() -> None:
    start, known = np.array([[0.2, 0.1]], np.float32), ratings((1, 3, 5), (1, 1, 2), (1, 2, 5))
    reach, rows = np.array([0.5, 2], np.float32), np.zeros(3, np.int64)
    y = ITEMS.vectors[known.items].astype(float)
    missed = known.stars - ITEMS.score(start, rows, known.items)
    expected = start[0] + np.linalg.solve(y.T @ y + 2 * np.diag(1 / reach.astype(float) ** 2), y.T @ missed)
    np.testing.assert_allclose(RidgeTuning(2.0, reach)(start, ITEMS, rows, known)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("tuning", [RidgeTuning(np.inf, np.ones(2, np.float32)), StepTuning(0, 0.1)])
def test_the_start_is_one_of_the_choices(tuning) -> None:
    start = np.array([[0.5, -0.25]], np.float32)
    np.testing.assert_array_equal(tuning(start, ITEMS, np.array([0]), ratings((1, 1, 1))), start)


@pytest.mark.parametrize("tuning", [RidgeTuning(1.0, np.ones(2, np.float32)), StepTuning(9, 0.1)])
def test_who_is_known_by_nothing_stays(tuning) -> None:
    start, nothing = np.ones((3, 2), np.float32), ratings((1, 1, 1)).where(np.array([False]))
    np.testing.assert_array_equal(tuning(start, ITEMS, np.zeros(0, np.int64), nothing), start)


@pytest.mark.parametrize("each_rating", [False, True])
def test_steps_are_those_of_torch_for_every_user_alone(each_rating: bool) -> None:
    start = np.array([[0.5, -0.25], [3, 3], [1, 0]], np.float32)
    known, rows = ratings((1, 1, 4), (1, 2, 1), (1, 3, 2), (3, 3, 5)), np.array([0, 0, 0, 2])
    tuned = StepTuning(4, 0.05, each_rating)(start, ITEMS, rows, known)
    np.testing.assert_array_equal(tuned[1], start[1])
    for user in (0, 2):
        vector = torch.tensor(start[user], requires_grad=True)
        optimizer = torch.optim.Adam([vector], lr=0.05)
        mine = known.where(rows == user)
        y = torch.from_numpy(ITEMS.vectors[mine.items])
        for _ in range(4 * (len(mine) if each_rating else 1)):
            optimizer.zero_grad()
            wanted = torch.from_numpy(mine.stars - ITEMS.offset[mine.items])
            (y @ vector - wanted).square().mean().backward()
            optimizer.step()
        np.testing.assert_allclose(tuned[user], vector.detach().numpy(), rtol=1e-4)


def test_validation_users_choose_one_penalty_for_all_numbers_and_steps_for_each() -> None:
    # The first rating misleads, the later ones and the second half agree with each other.
    stars = [1.0, 5, 5, 5, 5, 5, 5, 5]
    halves = WarmSplit.of(ratings(*[(1, 1, s) for s in stars]), np.arange(8))
    start, scale, one = np.zeros((1, 2), np.float32), Scale(1, 5), np.ones(2, np.float32)
    ridge = choose_tuning([RidgeTuning(p, one) for p in (0.1, np.inf)], start, ITEMS, halves, scale)
    assert len({id(tuning) for tuning in ridge.values()}) == 1
    steps = choose_tuning([StepTuning(n, 0.1) for n in (0, 50)], start, ITEMS, halves, scale)
    assert {amount: tuning.numbers()["steps"] for amount, tuning in steps.items()} == {
        "1": 0, "2": 0, "4": 50, "8": 50, "half": 50,
    }  # fmt: skip


# Methods


def test_the_calibrated_target_model_folds_a_user_in() -> None:
    data = small_pair()
    _, model = calibrated_models(data)
    halves = WarmSplit.of(data.target_test, np.tile(np.arange(9), len(data.cohorts["test"])))
    scores = folded_in(model, halves, "half")
    user = int(halves.users[3])
    known, wanted = (half.where(half.users == user) for half in (halves.first, halves.second))
    centered = known.stars - model.mean - model.item_bias[known.items]
    offset = centered.sum() / (len(known) + model.damping("user_offset"))
    q = model.item_embedding[known.items].astype(float)
    factors = np.linalg.solve(q.T @ q + REGULARIZATION * np.eye(q.shape[1]), q.T @ (centered - offset))
    expected = model.mean + model.item_bias[wanted.items] + offset + model.item_embedding[wanted.items] @ factors
    np.testing.assert_allclose(scores[halves.second.users == user], expected, rtol=1e-4)


def test_the_offset_baseline_weighs_the_source_offset_like_so_many_ratings() -> None:
    data = small_pair()
    halves = WarmSplit.of(data.target_test, np.tile(np.arange(9), len(data.cohorts["test"])))
    [baseline] = [method for method in simple_baselines(data) if method.name == "source_offset"]
    method = tuned_method(baseline, [RidgeTuning(3.0, np.ones(1, np.float32))], halves, data)
    user = int(halves.users[0])
    known, wanted = (half.where(half.users == user) for half in (halves.known("2"), halves.second))
    carried = float(baseline.embed(np.array([user]))[0, 0])
    missed = known.stars - baseline.items.offset[known.items]
    offset = (3 * carried + missed.sum()) / (3 + len(known))
    scores = method.score(halves, "2")[halves.second.users == user]
    np.testing.assert_allclose(scores, baseline.items.offset[wanted.items] + offset, rtol=1e-5)
    np.testing.assert_allclose(method.score(halves, "0"), baseline.score(halves.second), rtol=1e-6)


# The stages


@pytest.fixture(params=["lineage", "published_lineage"])
def either(request: pytest.FixtureRequest) -> Lineage:
    made: Lineage = request.getfixturevalue(request.param)
    return made


def curve(made: Lineage, method: str) -> list[float]:
    rows = read(
        made.home,
        "warm_start_evaluation",
        f"select known_ratings, rmse from warm_start_evaluation where method = '{method}'",
    )
    found = dict(rows)
    return [found[amount] for amount in KNOWN]


def test_a_bridged_start_is_better_than_a_random_one(either: Lineage) -> None:
    assert all(np.less(curve(either, "ptupcdr"), curve(either, "random")))


@pytest.mark.parametrize("method", ["ptupcdr", "emcdr", "tgt", "random", "source_offset"])
def test_the_more_is_known_the_better(either: Lineage, method: str) -> None:
    found = curve(either, method)
    assert found[-1] < found[2] < found[0]
    # As published, errors are of three stars, and some twenty validation users choose each number of steps.
    notable = 0.01 if either.settings.recipe == "calibrated" else 0.05 * found[0]
    assert max(np.diff(found)) < notable, f"no number of known ratings may make it notably worse: {found}"


def test_on_planted_data_the_tuned_bridge_beats_a_model_that_knows_the_target_alone(lineage: Lineage) -> None:
    bridged, alone = (np.array(curve(lineage, method)) for method in ("ptupcdr", "tgt"))
    assert (bridged[:-1] < alone[:-1]).all()
    assert bridged[-1] < 1.005 * alone[-1], "half of all target ratings say nearly as much without the source"
    assert all(np.less(curve(lineage, "ptupcdr"), curve(lineage, "source_offset")))


def test_every_test_user_has_an_embedding_a_number_of_known_ratings(either: Lineage) -> None:
    query = (
        "select known_ratings, count(distinct user_id), count(*), bool_and(len(embedding) > 0) "
        "from fine_tuned_embeddings group by 1 order by 1"
    )
    [(users,)] = read(either.home, "domain_splits", "select count(*) from split_users where cohort = 'test'")
    assert read(either.home, "fine_tuned_embeddings", query) == [(k, users, users, True) for k in KNOWN[1:]]


def test_errors_by_user_add_up_and_are_of_the_same_ratings(either: Lineage) -> None:
    query = """select count(*), bool_and(abs(e.mae - s.mae) < 1e-9 and abs(e.rmse - s.rmse) < 1e-9),
               count(distinct (s.ratings, s.users))
               from (select method, known_ratings, count(*) users, sum(ratings) ratings,
                     sum(absolute_error) / sum(ratings) mae, sqrt(sum(squared_error) / sum(ratings)) rmse
                     from warm_start_errors group by all) s
               join warm_start_evaluation e using (method, known_ratings, users, ratings)"""
    methods = 6 + (either.settings.recipe == "calibrated")
    assert read(either.home, "warm_start_evaluation", query) == [(methods * len(KNOWN), True, 1)]


def test_embeddings_of_other_test_users_are_refused(lineage: Lineage, tmp_path: Path) -> None:
    shutil.copytree(lineage.home.root, tmp_path / "copy")
    home = Home(tmp_path / "copy")
    warehouse = Warehouse(home.warehouse)
    for asset, stage in (("fine_tuned_embeddings", evaluate_warm_start), ("bridged_embeddings", fine_tune)):
        [(user,)] = read(home, "domain_splits", "select min(user_id) from split_users where cohort = 'test'")
        with warehouse.read(asset, PAIR) as connection:
            table = connection.sql(f"select * from {asset} where user_id <> '{user}'").to_arrow_table()
        with warehouse.write(asset, PAIR) as connection:
            connection.register("rows", table)
            connection.execute(f"create table {asset} as select * from rows")
        with pytest.raises(WarehouseError, match=f"{asset} of {PAIR} has other test users than the present split"):
            stage(home, PAIR, lineage.settings)
