"""Bridge training data follow the settings, and each row's item vector is fitted without that row's rating."""

from dataclasses import replace

import numpy as np
import pytest
from small_pair import SIZE, SOURCE_ITEMS, TARGET_ITEMS, USERS, calibrated_models, calibrated_task, small_pair

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.base import BaseModel, initialize
from ptupcdr_core.models.rating_errors import rating_errors
from ptupcdr_core.training.calibrated_model import REGULARIZATION, CalibratedModel
from ptupcdr_core.training.task import BridgeTask, bridge_task

CONSTANT, BIAS, RATERS, SPREADS, COUNTS, WIDTH, COUNT, SQUARE, PRODUCT = range(SIZE, SIZE + 9)
"""Places of the target items' further coordinates."""


@pytest.fixture(scope="module")
def data() -> PairData:
    return small_pair()


@pytest.fixture(scope="module")
def models(data: PairData) -> tuple[CalibratedModel, CalibratedModel]:
    return calibrated_models(data)


@pytest.fixture(scope="module")
def task(data: PairData) -> BridgeTask:
    return calibrated_task(data)


def published(kind: str = "mf") -> tuple[BaseModel, BaseModel]:
    rng = np.random.default_rng(2)
    return initialize(kind, USERS, SOURCE_ITEMS, 4, rng), initialize(kind, USERS, TARGET_ITEMS, 4, rng)


@pytest.mark.parametrize("kind", ["mf", "gmf", "dnn"])
def test_as_published_the_bridge_goes_between_the_base_models_own_vectors(data: PairData, kind: str) -> None:
    source, target = published(kind)
    task = bridge_task(data, source, target)
    np.testing.assert_array_equal(task.source_vectors, source.user_vectors())
    np.testing.assert_array_equal(task.history_vectors, source.item_vectors())
    np.testing.assert_array_equal(task.target_user_vectors, target.user_vectors())
    np.testing.assert_array_equal(task.prior, np.zeros((4, 4)))
    test = data.target_test
    np.testing.assert_allclose(
        task.target.score(target.user_vectors(), test.users, test.items),
        target.score(test.users, test.items),
        rtol=1e-5,
    )


def test_as_published_the_rows_are_the_bridge_users_own_ratings(data: PairData) -> None:
    task = bridge_task(data, *published())
    ratings = data.bridge_ratings
    np.testing.assert_array_equal(task.rows.users, ratings.users)
    np.testing.assert_array_equal(task.rows.wanted, ratings.stars)
    np.testing.assert_array_equal(task.rows.vectors[task.rows.pick], task.target.vectors[ratings.items])


def test_models_of_different_recipes_are_refused(data: PairData, models: tuple) -> None:
    with pytest.raises(TypeError, match="same recipe"):
        bridge_task(data, models[0], published()[1])


def test_rows_are_of_bridge_users_only_and_in_order(data: PairData, task: BridgeTask) -> None:
    assert set(task.rows.users.tolist()) == set(data.cohorts["bridge"].tolist()) == set(task.bridge_users.tolist())
    assert (np.diff(task.rows.users) >= 0).all()
    assert len(task.rows.users) == len(data.bridge_ratings) < len(data.target_train)


def test_calibrated_coordinates_have_unit_size_over_those_with_ratings(data: PairData, task: BridgeTask) -> None:
    users = np.unique(data.source.users)
    sizes = np.square(task.source_vectors[users]).mean(0)
    np.testing.assert_allclose(sizes[: SIZE + 3], 1, rtol=1e-4)
    assert len(set(np.bincount(data.source.users)[users])) == 1, "all users are known equally well here,"
    np.testing.assert_allclose(
        sizes[SIZE + 3 : SIZE + 7], 0, atol=1e-6, err_msg="so how much is known, and of what, tells nobody apart"
    )
    np.testing.assert_allclose(sizes[SIZE + 7], 1, rtol=1e-4, err_msg="how often somebody rates highest does")
    np.testing.assert_array_equal(sizes[SIZE + 8], 0, err_msg="agreement was not planted, and its damping says so")
    sizes = np.square(task.target.vectors[data.target_train.items]).mean(0)
    alike = [SPREADS, COUNTS]  # of raters who all have as many ratings and are spread as widely
    np.testing.assert_allclose(np.delete(sizes, alike), 1, rtol=1e-4)
    np.testing.assert_allclose(np.square(task.history_vectors[data.source.items]).mean(0), 1, rtol=1e-4)


def test_the_target_models_own_users_score_as_the_target_model(data: PairData, task: BridgeTask, models: tuple) -> None:
    train, target = data.target_train, models[1]
    expected = train.stars - target.residuals(train)
    expected += (target.user_embedding[train.users] * target.item_embedding[train.items]).sum(1)
    expected += target.item_weighting[train.items]
    scores = task.target.score(task.target_user_vectors, train.users, train.items)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("left_in", [False, True])
def test_the_prior_is_the_best_line_of_the_offset_with_or_without_the_raters_offsets(
    data: PairData, task: BridgeTask, models: tuple, left_in: bool
) -> None:
    scale, rows = coordinate_scale(data, models, RATERS), task.rows
    vectors, offsets = rows.vectors[rows.pick], task.source_vectors[rows.users, SIZE]
    if left_in:
        rows = replace(rows, wanted=rows.wanted + scale * vectors[:, RATERS])
    prior = models[1].prior(task.source_vectors, rows).bridge
    expected = np.zeros_like(prior)
    slope, intercept = np.polyfit(offsets, rows.wanted - left_in * scale * vectors[:, RATERS], 1)
    expected[SIZE : SIZE + 2, CONSTANT], expected[SIZE + 1, RATERS] = (slope, intercept), left_in * scale
    np.testing.assert_allclose(prior, expected, atol=1e-5)
    assert slope > 0.1, "harshness was planted in both domains"


def test_a_cold_users_prediction_is_at_least_as_good_as_the_baselines(data: PairData, task: BridgeTask) -> None:
    test = data.target_test
    scores = task.target.score(task.source_vectors @ task.prior, test.users, test.items)
    errors = {method.name: rating_errors(method.score(test), test, None).rmse for method in simple_baselines(data)}
    assert rating_errors(scores, test, None).rmse < 1.02 * errors["source_offset"] < errors["item_mean"]


@pytest.mark.parametrize("place", [BIAS, RATERS, SPREADS, COUNTS, WIDTH])
def test_what_is_said_of_each_rows_item_is_a_damped_mean_without_the_row(
    data: PairData, task: BridgeTask, models: tuple, place: int
) -> None:
    train, target = data.target_train, models[1]
    bias, mean, spreads, counts, width, weighting = target.of_items(train)
    values, damping = {
        BIAS: (bias, target.dampings[0]),
        RATERS: (mean, target.dampings[1]),
        SPREADS: (spreads, target.dampings[2]),
        COUNTS: (counts, target.dampings[3]),
        WIDTH: (width, target.dampings[4]),
    }[place]
    found = task.rows.vectors[task.rows.pick] * [coordinate_scale(data, models, k) for k in range(SIZE + 9)]
    said = found[:, place] + (found[:, BIAS] if place == RATERS else 0)
    for row, at in enumerate(np.flatnonzero(np.isin(train.users, data.cohorts["bridge"]))):
        others = (train.items == train.items[at]) & (np.arange(len(train)) != at)
        assert said[row] == pytest.approx(values[others].sum() / (others.sum() + damping), abs=1e-4)
        left = train.stars[at] - target.mean - found[row, BIAS]
        left -= weighting[others].sum() / (others.sum() + target.dampings[0])
        assert task.rows.wanted[row] == pytest.approx(left, abs=1e-4)


def test_each_rows_factors_are_the_items_without_the_row_user_factors_as_they_are(
    data: PairData, task: BridgeTask, models: tuple
) -> None:
    train, target = data.target_train, models[1]
    residuals, p = target.residuals(train), target.user_embedding.astype(np.float64)
    scales = np.array([coordinate_scale(data, models, place) for place in range(SIZE)])
    found = task.rows.vectors[task.rows.pick][:, :SIZE] * scales
    for row, at in enumerate(np.flatnonzero(np.isin(train.users, data.cohorts["bridge"]))):
        others = (train.items == train.items[at]) & (np.arange(len(train)) != at)
        x, r = p[train.users[others]], residuals[others]
        expected = np.linalg.solve(x.T @ x + REGULARIZATION * np.eye(SIZE), x.T @ r)
        np.testing.assert_allclose(found[row], expected, atol=1e-4)


def test_each_row_knows_of_the_item_what_the_other_ratings_tell(
    data: PairData, task: BridgeTask, models: tuple
) -> None:
    items, vectors = data.bridge_ratings.items, task.rows.vectors[task.rows.pick]
    counts = np.bincount(data.target_train.items)[items]
    known = np.log1p(counts - 1) - mean_known(data)
    np.testing.assert_allclose(vectors[:, COUNT] * coordinate_scale(data, models, COUNT), known, atol=1e-5)
    np.testing.assert_allclose(vectors[:, SQUARE] * coordinate_scale(data, models, SQUARE), known**2, atol=1e-5)
    np.testing.assert_array_equal(vectors[:, CONSTANT], 1)
    bias, product = (vectors[:, place] * coordinate_scale(data, models, place) for place in (BIAS, PRODUCT))
    np.testing.assert_allclose(product, bias * known, atol=1e-5)


def test_an_item_with_one_rater_is_unknown_to_that_raters_row(data: PairData) -> None:
    train, user = data.target_train, data.cohorts["bridge"][3]
    at = int(np.flatnonzero(train.users == user)[0])
    alone = np.flatnonzero((train.items != train.items[at]) | (np.arange(len(train)) == at))
    task = calibrated_task(replace(data, target_train=train.where(np.isin(np.arange(len(train)), alone))))
    row = int(np.flatnonzero(task.rows.users == user)[0])
    vector = task.rows.vectors[task.rows.pick[row]]
    np.testing.assert_array_equal(vector[:SIZE], 0)
    assert vector[CONSTANT] == 1
    np.testing.assert_allclose(vector[[BIAS, PRODUCT]], 0, atol=1e-6)
    assert vector[COUNT] < 0, "known less than items are on average"


def coordinate_scale(data: PairData, models: tuple, place: int) -> float:
    """Root mean square of a target coordinate over the training ratings: what the task divides it by."""
    target = models[1]
    known = np.log1p(target.item_counts) - mean_known(data)
    raters = target.item_mean - target.item_bias, target.rater_spread, target.rater_counts, target.item_spread
    further = [np.ones(TARGET_ITEMS + 1), target.item_bias, *raters, known, known**2, target.item_bias * known]
    columns = [*target.item_embedding.T, *further]
    return float(np.sqrt(np.square(columns[place][data.target_train.items]).mean())) or 1.0


def mean_known(data: PairData) -> float:
    """The mean over training ratings of the logarithm of how often their item was rated, plus one."""
    return float(np.log1p(np.bincount(data.target_train.items)[data.target_train.items]).mean())
