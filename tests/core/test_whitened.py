"""Ridge regressions in whitened coordinates: against dense solutions, for rows shorter and longer than D."""

from collections.abc import Callable

import numpy as np
import pytest

from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.kernels.whitened import left_out
from ptupcdr_core.training.als import Entries, Plan, als, fold_in, whitened

ROWS = 60


@pytest.mark.parametrize(("size", "columns"), [(3, 60), (10, 200), (64, 900)])
@pytest.mark.parametrize("weight", [0.0, 0.2])
def test_every_row_is_the_dense_ridge_solution(size: int, columns: int, weight: float) -> None:
    rng = np.random.default_rng(size)
    counts = rng.integers(1, min(2 * size + 6, columns), ROWS)
    counts[:3] = size - 1, size, size + 1
    rows = np.repeat(np.arange(1, ROWS + 1, dtype=np.int32), counts)
    items = np.concatenate([rng.choice(columns, count, replace=False) + 1 for count in counts]).astype(np.int32)
    vectors, values = rng.normal(0, 0.3, (columns + 1, size)).astype(np.float32), rng.normal(size=len(rows))
    grouped = compress(rows, items, values.astype(np.float32), ROWS + 1)
    found = fold_in(grouped, vectors, regularization=0.7, weighted=False, unobserved_weight=weight)
    everything = weight * vectors.T.astype(np.float64) @ vectors + 0.7 * np.eye(size)
    for row in range(1, ROWS + 1):
        own = vectors[items[rows == row]].astype(np.float64)
        expected = np.linalg.solve(own.T @ own + everything, own.T @ values[rows == row])
        np.testing.assert_allclose(found[row], expected, atol=2e-6 * np.abs(expected).max() * size)
    assert not found[ROWS + 1].any()


def test_factors_are_the_same_for_any_number_of_threads(use_threads: Callable[[int], None]) -> None:
    rng = np.random.default_rng(1)
    users, items = np.arange(900, dtype=np.int32) % 70 + 1, rng.integers(1, 41, 900).astype(np.int32)

    def factors(threads: int) -> np.ndarray:
        use_threads(threads)
        ridge, entries = Ridge(2, False, 0.1), Entries(users, items, np.ones(900, np.float32), 70, 40)
        return als(entries, Plan(20, ridge, ridge, iterations=3, seed=0))[0]

    np.testing.assert_array_equal(factors(1), factors(2))


@pytest.mark.parametrize("size", [3, 10, 64])
@pytest.mark.parametrize("weight", [0.0, 0.2])
def test_a_row_without_one_rating_is_what_the_others_alone_give(size: int, weight: float) -> None:
    """Rows shorter and longer than D, of one rating, and of one more than D, which has D left."""
    rng = np.random.default_rng(size)
    counts = np.array([1, 2, size - 1, size, size + 1, 2 * size + 5])
    rows = np.repeat(np.arange(1, 7, dtype=np.int32), counts)
    items = np.concatenate([rng.choice(300, count, replace=False) + 1 for count in counts]).astype(np.int32)
    vectors, values = rng.normal(0, 0.3, (301, size)).astype(np.float32), rng.normal(size=len(rows)).astype(np.float32)
    white, places = whitened(vectors, 0.7, weight), np.flatnonzero(rng.random(len(rows)) < 0.7)
    places = np.union1d(places, [0, 1])
    found = left_out(white, compress(rows, items, values, 6), rows[places], places)
    for place, solution in zip(places, found, strict=True):
        kept = (rows == rows[place]) & (np.arange(len(rows)) != place)
        others = compress(rows[kept], items[kept], values[kept], 6)
        expected = fold_in(others, vectors, regularization=0.7, weighted=False, unobserved_weight=weight)[rows[place]]
        np.testing.assert_allclose(solution, expected, atol=5e-6 * size)
    assert not found[0].any(), "nothing is left"
