"""Drift: how far a night is from what the deployed bundle was trained on, and from the night before."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ptupcdr_core.serving.drift import Scores, chance_index, stability_index
from ptupcdr_core.serving.nights import equally_filled


def test_equal_distributions_have_no_drift_and_others_are_compared_by_their_logarithms() -> None:
    assert stability_index([0.25, 0.75], [0.25, 0.75]) == 0
    assert stability_index([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.25 * np.log(2) + 0.25 * np.log(1.5))


def test_chance_is_rarely_beyond_its_bound() -> None:
    """Two samples of one population, two hundred times: one in a hundred is beyond, give or take."""
    random = np.random.default_rng(5)
    edges = np.quantile(random.normal(size=10_000), np.arange(1, 10) / 10).tolist()

    def drift() -> float:
        first, second = (Scores.of("", [random.normal(size=size)], edges) for size in (300, 400))
        return stability_index(first.shares, second.shares)

    beyond = sum(drift() > chance_index(300, 400) for _ in range(200))
    assert beyond <= 8


def test_scores_are_held_against_the_first_night() -> None:
    scores = np.linspace(0, 1, 1000)
    edges = np.quantile(scores, np.arange(1, 10) / 10).tolist()
    first = Scores.of("a", [scores[:300], scores[300:]], edges)
    assert (first.people, first.mean, first.shares) == (1000, pytest.approx(0.5), [0.1] * 10)
    assert first.beside(Scores.of("a", [scores], first.edges)).drift == 0
    moved = first.beside(Scores.of("a", [scores + 0.5], first.edges))
    assert (moved.before, moved.tonight) == pytest.approx((0.5, 1.0))
    assert moved.drift is not None
    assert moved.chance is not None
    assert moved.drift > max(0.25, moved.chance)
    nobody = Scores.of("a", [], [0.0] * 9)
    assert nobody.beside(nobody).drift == 0


@pytest.mark.parametrize("people", [0, 1, 2, 3, 10, 11, 997])
def test_bins_of_the_first_night_are_equally_filled_as_numpy_has_it(people: int) -> None:
    scores = np.random.default_rng(people).normal(size=people).astype(np.float32)
    with duckdb.connect() as connection:
        connection.register("best", pa.table({"score": scores}))
        connection.execute("create table recommendations as select score, 1 as rank from best union all select 9, 2")
        found = equally_filled(connection)
    expected = np.quantile(scores.astype(float), np.arange(1, 10) / 10) if people else np.zeros(9)
    np.testing.assert_array_equal(found, expected)
