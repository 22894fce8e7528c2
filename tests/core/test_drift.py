"""Drift: how far a night is from what the deployed bundle was trained on, and from the night before."""

import numpy as np
import pytest

from ptupcdr_core.serving.drift import Scores, chance_index, stability_index


def test_equal_distributions_have_no_drift_and_others_are_compared_by_their_logarithms() -> None:
    assert stability_index([0.25, 0.75], [0.25, 0.75]) == 0
    assert stability_index([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.25 * np.log(2) + 0.25 * np.log(1.5))


def test_chance_is_rarely_beyond_its_bound() -> None:
    """Two samples of one population, two hundred times: one in a hundred is beyond, give or take."""
    random = np.random.default_rng(5)
    edges = np.quantile(random.normal(size=10_000), np.arange(1, 10) / 10).tolist()

    def drift() -> float:
        first, second = (Scores.of("", random.normal(size=size), edges) for size in (300, 400))
        return stability_index(first.shares, second.shares)

    beyond = sum(drift() > chance_index(300, 400) for _ in range(200))
    assert beyond <= 8


def test_scores_are_held_against_the_first_night() -> None:
    scores = np.linspace(0, 1, 1000)
    first = Scores.of("a", scores)
    assert first.beside(Scores.of("a", scores, first.edges)).drift == 0
    moved = first.beside(Scores.of("a", scores + 0.5, first.edges))
    assert (moved.before, moved.tonight) == pytest.approx((0.5, 1.0))
    assert moved.drift is not None
    assert moved.chance is not None
    assert moved.drift > max(0.25, moved.chance)
    nobody = Scores.of("a", [])
    assert nobody.beside(Scores.of("a", [], nobody.edges)).drift == 0
