"""The ridge regressions equal the plain ones on explicit rows, cross-validation included."""

from itertools import product

import numpy as np
import pytest

from ptupcdr_core.models.bridge_rows import BridgeRows
from ptupcdr_core.training import ridge
from ptupcdr_core.training.ridge import (
    FOLDS,
    RidgeChoice,
    RidgeFit,
    fit_regression,
    fit_ridge,
    user_moments,
    users_read,
)

USERS, G, Y, SEED = 23, 3, 2, 5
PENALTIES = (0.1, 3.0, 100.0)
PLANTED = np.array([[1.0, -0.5], [0.3, 0.8], [0.0, 0.0]])


@pytest.fixture
def rows() -> BridgeRows:
    """One to six rows of each user, whose wanted value is g W y and noise, W being PLANTED."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(2, 2 * USERS + 2, 2), rng.integers(1, 7, USERS)).astype(np.int32)
    vectors = rng.normal(size=(40, Y)).astype(np.float32)
    pick = rng.integers(0, 40, len(users))
    wanted = np.einsum("ng,gy,ny->n", features()[users], PLANTED, vectors[pick]) + rng.normal(0, 0.3, len(users))
    return BridgeRows(users, vectors, pick, wanted.astype(np.float32))


def features() -> np.ndarray:
    """(2 · USERS + 2, G) by user index."""
    return np.random.default_rng(4).normal(size=(2 * USERS + 2, G)).astype(np.float32)


def explicit(rows: BridgeRows, count: int = G) -> tuple[np.ndarray, np.ndarray]:
    """Every row's products g_a y_b, (N, count · Y), and its wanted value."""
    products = features()[rows.users, :count, None] * rows.vectors[rows.pick][:, None, :]
    return products.reshape(len(products), -1).astype(np.float64), rows.wanted.astype(np.float64)


def plain_ridge(x: np.ndarray, t: np.ndarray, penalty: float) -> np.ndarray:
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ t)


def held_out_error(x: np.ndarray, t: np.ndarray, fold: np.ndarray, penalty: float) -> float:
    """Mean over rows of the squared error of a fit without the row's own fold."""
    total = 0.0
    for k in range(FOLDS):
        total += np.square(t[fold == k] - x[fold == k] @ plain_ridge(x[fold != k], t[fold != k], penalty)).sum()
    return total / len(t)


def folds(count: int) -> np.ndarray:
    return np.random.default_rng(SEED).permutation(count) % FOLDS


def fit(rows: BridgeRows, leading: tuple[int, ...] = (), penalties: tuple[float, ...] = PENALTIES) -> RidgeFit:
    moments = user_moments(rows)
    return fit_ridge(features()[moments.users], moments, penalties, seed=SEED, leading=leading)


def test_moments_are_the_sums_over_each_users_rows(rows: BridgeRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "BLOCK", 4)  # so that several blocks, the last one short, are gone through
    moments = user_moments(rows)
    assert moments.users.tolist() == sorted(set(rows.users.tolist()))
    assert moments.count == len(rows.users)
    for at, user in enumerate(moments.users):
        y, t = rows.vectors[rows.pick[rows.users == user]], rows.wanted[rows.users == user]
        np.testing.assert_allclose(moments.second[at], y.T @ y, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(moments.first[at], y.T @ t, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(moments.squares[at], t @ t, rtol=1e-5)


def test_moments_beyond_a_prediction_are_those_of_what_it_leaves(rows: BridgeRows) -> None:
    moments = user_moments(rows)
    vectors = np.random.default_rng(8).normal(size=(len(moments.users), Y)).astype(np.float32)
    place = np.searchsorted(moments.users, rows.users)
    left = rows.wanted - (vectors[place] * rows.vectors[rows.pick]).sum(1)
    again = user_moments(BridgeRows(rows.users, rows.vectors, rows.pick, left))
    beyond = moments.beyond(vectors)
    np.testing.assert_allclose(beyond.first, again.first, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(beyond.squares, again.squares, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(beyond.second, again.second)
    assert beyond.count == again.count


def test_users_are_drawn_when_there_are_too_many(
    rows: BridgeRows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    everybody = user_moments(rows)
    monkeypatch.setattr(ridge, "MOST_USERS", 7)
    with caplog.at_level("INFO"):
        some = user_moments(rows)
    assert f"reads 7 of {len(everybody.users)} bridge users, drawn at random" in caplog.text
    places = np.searchsorted(everybody.users, some.users)
    assert len(places) == 7 == users_read(rows)
    assert (places > 7).any(), "not the first ones, whose ids may have something in common"
    np.testing.assert_array_equal(some.second, everybody.second[places])
    np.testing.assert_array_equal(some.users, user_moments(rows).users, "the same ones every time")
    assert some.count == np.isin(rows.users, some.users).sum() < everybody.count


def test_the_fit_is_the_plain_ridge_on_explicit_rows(rows: BridgeRows) -> None:
    found = fit(rows)
    x, t = explicit(rows)
    assert found.features == G
    np.testing.assert_allclose(found.matrix.reshape(-1), plain_ridge(x, t, found.penalty), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.matrix, PLANTED, atol=0.2)


def test_every_cross_validation_error_is_that_of_plain_fits_without_the_fold(rows: BridgeRows) -> None:
    found = fit(rows, leading=(1, 2, 3))
    fold_of_user = dict(zip(np.unique(rows.users).tolist(), folds(USERS), strict=True))
    fold = np.array([fold_of_user[user] for user in rows.users.tolist()])
    assert found.errors.keys() == {(0, float("inf")), *product((1, 2, 3), PENALTIES)}
    for (count, penalty), error in found.errors.items():
        x, t = explicit(rows, count)
        expected = held_out_error(x, t, fold, penalty) if count else np.square(t).mean()
        assert error == pytest.approx(expected, rel=1e-4), (count, penalty)


def test_the_candidate_with_the_lowest_error_is_used_and_the_features_beyond_it_are_not(rows: BridgeRows) -> None:
    found = fit(rows, leading=(1, 2))
    assert found.errors[found.features, found.penalty] == min(found.errors.values())
    assert found.features == 2, "both were planted with influence"
    assert not found.matrix[2].any()
    x, t = explicit(rows, 2)
    np.testing.assert_allclose(found.matrix[:2].reshape(-1), plain_ridge(x, t, found.penalty), rtol=1e-4, atol=1e-5)


def test_noise_is_answered_with_no_matrix_at_all(rows: BridgeRows) -> None:
    noise = np.random.default_rng(0).normal(size=len(rows.users)).astype(np.float32)
    found = fit(BridgeRows(rows.users, rows.vectors, rows.pick, noise), penalties=(1e-3,))
    assert (found.features, found.penalty) == (0, float("inf"))
    assert not found.matrix.any()


def test_one_user_cannot_be_held_out_of_anything(rows: BridgeRows) -> None:
    one = rows.users == rows.users[0]
    found = fit(BridgeRows(rows.users[one], rows.vectors, rows.pick[one], rows.wanted[one]))
    assert found.features == 0


def test_regression_on_whole_users_equals_the_plain_one() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(USERS, G)).astype(np.float32)
    wanted = (x @ PLANTED + rng.normal(0, 0.2, (USERS, Y))).astype(np.float32)
    found = fit_regression(x, wanted, PENALTIES, seed=SEED)
    np.testing.assert_allclose(found.matrix, plain_ridge(x.astype(float), wanted, found.penalty), rtol=1e-4, atol=1e-5)
    assert found.errors.pop((0, float("inf"))) == pytest.approx(np.square(wanted).sum(1).mean(), rel=1e-5)
    assert found.errors.keys() == {(G, penalty) for penalty in PENALTIES}
    for (_, penalty), error in found.errors.items():
        # held_out_error divides by rows of t: (U, Y) has one row a user.
        assert error == pytest.approx(held_out_error(x.astype(float), wanted, folds(USERS), penalty), rel=1e-5)


def test_regression_on_noise_predicts_nothing() -> None:
    rng = np.random.default_rng(1)
    found = fit_regression(rng.normal(size=(10, G)), rng.normal(size=(10, Y)), (1e-6,), seed=SEED)
    assert (found.features, found.penalty, found.matrix.any()) == (0, float("inf"), False)


@pytest.mark.parametrize("choice", [RidgeChoice(3.0, 2, 1), RidgeChoice(0.1, G), RidgeChoice(float("inf"), G)])
def test_a_choice_that_is_kept_is_fitted_to_everybody(rows: BridgeRows, choice: RidgeChoice) -> None:
    """Also where held-out users would not have it."""
    moments = user_moments(rows)
    scales = [np.ones((G, Y), np.float32), np.array([[1, 2], [3, 4], [5, 6]], np.float32)]
    found = fit_ridge(features()[moments.users], moments, PENALTIES, seed=SEED, scales=scales, fixed=choice)
    count = choice.features if np.isfinite(choice.penalty) else 0
    assert (found.penalty, found.features, found.scale, found.errors) == (choice.penalty, count, choice.scale, {})
    assert not found.matrix[count:].any()
    if count:
        x, t = explicit(rows, count)
        scale = scales[choice.scale][:count].reshape(-1)
        expected = scale * plain_ridge(x * scale, t, choice.penalty)
        np.testing.assert_allclose(found.matrix[:count].reshape(-1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("penalty", [0.1, 100.0, float("inf")])
def test_a_penalty_that_is_kept_is_the_regressions(penalty: float) -> None:
    rng = np.random.default_rng(6)
    x, wanted = rng.normal(size=(USERS, G)), rng.normal(size=(USERS, Y))
    found = fit_regression(x, wanted, PENALTIES, seed=SEED, fixed=penalty)
    expected = plain_ridge(x, wanted, penalty) if np.isfinite(penalty) else np.zeros((G, Y))
    assert (found.penalty, found.features) == (penalty, G if np.isfinite(penalty) else 0)
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-4, atol=1e-5)
