"""Alternating least squares equal plain least squares, for rows of any length and any number of threads."""

import numpy as np
import pytest

from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.least_squares import GATHERED, Ridge
from ptupcdr_core.training.als import Entries, Plan, als, fold_in, initial_vectors, leave_one_out_item_vectors

USERS, ITEMS, RATINGS = 23, 17, 150


@pytest.fixture
def ratings():
    """Ratings in which user 5 and item 3 have none and item 2 has one."""
    rng = np.random.default_rng(7)
    users = rng.choice([u for u in range(1, USERS + 1) if u != 5], RATINGS).astype(np.int32)
    items = rng.choice([1, *range(4, ITEMS + 1)], RATINGS).astype(np.int32)
    items[0] = 2
    return users, items, rng.standard_normal(RATINGS).astype(np.float32)


def ridge_row(x: np.ndarray, r: np.ndarray, regularization: float, weighted: bool) -> np.ndarray:
    if len(r) == 0:
        return np.zeros(x.shape[1])
    ridge = regularization * (len(r) if weighted else 1)
    x = x.astype(np.float64)
    return np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ r)


def ridge_rows(rows, columns, residuals, vectors, row_count, regularization, weighted):
    return np.array(
        [
            ridge_row(vectors[columns[rows == row]], residuals[rows == row], regularization, weighted)
            for row in range(row_count + 1)
        ]
    )


def test_compress_groups_and_keeps_the_order():
    rows = np.array([3, 1, 3, 2, 1], np.int32)
    csr = compress(rows, np.arange(5, dtype=np.int32), np.arange(5, dtype=np.float32) / 2, 4)
    assert csr.offsets.tolist() == [0, 0, 2, 3, 5, 5]
    assert csr.columns.tolist() == csr.order.tolist() == [1, 4, 3, 0, 2]
    assert csr.values.tolist() == [0.5, 2, 1.5, 0, 1]


@pytest.mark.parametrize("row", [0, 5])
def test_compress_refuses_rows_out_of_range(row):
    with pytest.raises(ValueError, match=r"1\.\.4"):
        compress(np.array([row], np.int32), np.array([1], np.int32), np.array([1], np.float32), 4)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("size", [1, 8, 10, 33])
def test_als_equals_plain_least_squares(ratings, size, weighted):
    users, items, residuals = ratings
    plan = Plan(size, Ridge(0.1, weighted), Ridge(0.2, weighted), iterations=3, seed=4)
    found = als(Entries(*ratings, USERS, ITEMS), plan)
    Q = 0.1 * np.random.default_rng(4).standard_normal((ITEMS + 1, size), dtype=np.float32)
    for _ in range(3):
        P = ridge_rows(users, items, residuals, Q, USERS, 0.1, weighted)
        Q = ridge_rows(items, users, residuals, P, ITEMS, 0.2, weighted)
    for ours, plain in zip(found, (P, Q), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, plain, atol=2e-5)
    assert not found[0][[0, 5]].any()
    assert not found[1][[0, 3]].any()


def test_als_finds_a_planted_rank_and_fold_in_agrees_with_it():
    rng = np.random.default_rng(0)
    P, Q = rng.standard_normal((60, 2)), rng.standard_normal((40, 2))
    users, items = (index.ravel().astype(np.int32) + 1 for index in np.indices((60, 40)))
    residuals = (P @ Q.T).ravel().astype(np.float32)
    plan = Plan(2, Ridge(1e-4), Ridge(1e-4), iterations=10, seed=0)
    user_vectors, item_vectors = als(Entries(users, items, residuals, 60, 40), plan)
    np.testing.assert_allclose((user_vectors @ item_vectors.T)[1:, 1:], P @ Q.T, atol=0.01)
    folded = fold_in(compress(users, items, residuals, 60), item_vectors, regularization=1e-4)
    np.testing.assert_allclose(folded @ item_vectors.T, user_vectors @ item_vectors.T, atol=0.01)


@pytest.mark.parametrize("weighted", [True, False])
def test_fold_in_equals_plain_least_squares(ratings, weighted):
    users, items, residuals = ratings
    vectors = np.random.default_rng(1).standard_normal((ITEMS + 1, 10)).astype(np.float32)
    found = fold_in(compress(*ratings, USERS), vectors, regularization=0.3, weighted=weighted)
    np.testing.assert_allclose(found, ridge_rows(users, items, residuals, vectors, USERS, 0.3, weighted), atol=1e-5)


@pytest.mark.parametrize("count", [1, GATHERED - 1, GATHERED, GATHERED + 1, 3 * GATHERED])
def test_a_row_of_any_length_equals_plain_least_squares(count):
    rng = np.random.default_rng(count)
    vectors = rng.standard_normal((count + 1, 20), dtype=np.float32)
    items, residuals = np.arange(1, count + 1, dtype=np.int32), rng.standard_normal(count, dtype=np.float32)
    rows = compress(np.ones(count, np.int32), items, residuals, 1)
    found = fold_in(rows, vectors, regularization=0.5, weighted=False)
    np.testing.assert_allclose(found[1], ridge_row(vectors[items], residuals, 0.5, False), atol=1e-5)


@pytest.mark.parametrize("weighted", [True, False])
def test_leaving_one_out_equals_solving_without_it(ratings, weighted):
    users, items, residuals = ratings
    vectors = np.random.default_rng(2).standard_normal((USERS + 1, 10)).astype(np.float32)
    found = leave_one_out_item_vectors(*ratings, vectors, ITEMS, regularization=0.3, weighted=weighted)
    assert found.dtype == np.float32
    for k in range(RATINGS):
        others = (items == items[k]) & (np.arange(RATINGS) != k)
        wanted = ridge_row(vectors[users[others]], residuals[others], 0.3, weighted)
        np.testing.assert_allclose(found[k], wanted, atol=1e-4)
    assert not found[0].any(), "the only rating of its item leaves nothing"


def test_indices_outside_the_tables_are_refused(ratings):
    vectors = np.ones((5, 10), np.float32)
    with pytest.raises(ValueError, match="columns must lie in"):
        fold_in(compress(*ratings, USERS), vectors, regularization=0.3)
    with pytest.raises(ValueError, match="users must lie in"):
        leave_one_out_item_vectors(*ratings, vectors, ITEMS, regularization=0.3)


def test_same_numbers_for_any_number_of_threads(ratings, use_threads):
    plan = Plan(10, Ridge(0.1), Ridge(0.1), iterations=2, seed=0)
    results = []
    for threads in (1, 2):
        use_threads(threads)
        results.append(als(Entries(*ratings, USERS, ITEMS), plan))
    for P, Q in results[1:]:
        np.testing.assert_array_equal(P, results[0][0])
        np.testing.assert_array_equal(Q, results[0][1])


def test_initial_vectors_are_the_same_whatever_the_blocks() -> None:
    [whole] = initial_vectors(11, 3, 7, block=11)
    np.testing.assert_array_equal(np.concatenate([*initial_vectors(11, 3, 7, block=4)]), whole)
