"""Distributions of ratings: planted ones are recovered, few users change little, and unusual scales work."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit

from ptupcdr_core.models.ordinal import Levels, _negative_log_likelihood, fit_ordinal

THRESHOLDS = np.array([-5.0, -3.0, -1.0, 1.0])


def planted(seed: int, count: int, dispersion: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, features and stars 1 to 5 with the thresholds above and slope 2 around 4 stars: skewed."""
    rng = np.random.default_rng(seed)
    predicted = rng.normal(4, 0.5, count).astype(np.float32)
    features = rng.normal(0, 0.3, (count, 1)).astype(np.float32)
    logits = np.exp(-dispersion * features) * (2 * (predicted - 4)[:, None] - THRESHOLDS)
    return predicted, features, 1 + (rng.random((count, 1)) < expit(logits)).sum(1).astype(np.float32)


def test_planted_parameters_are_recovered() -> None:
    predicted, features, stars = planted(0, 40_000, dispersion=1.0)
    fit = fit_ordinal(Levels.of(stars), predicted, features, stars)
    assert fit.slope == pytest.approx(2, rel=0.05)
    np.testing.assert_allclose(fit.thresholds, THRESHOLDS - fit.slope * (fit.center - 4), atol=0.2)
    assert fit.dispersion[0] == pytest.approx(1, abs=0.1)


def test_probabilities_are_reliable_and_medians_lower_the_absolute_error() -> None:
    predicted, features, stars = planted(1, 20_000)
    first, rest = slice(0, 2_000), slice(2_000, None)
    fit = fit_ordinal(Levels.of(stars[first]), predicted[first], features[first], stars[first])
    chances = fit.probabilities(predicted[rest], features[rest])
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(chances.mean(0), np.bincount(stars[rest].astype(int))[1:] / 18_000, atol=0.04)
    medians = fit.medians(predicted[rest], features[rest])
    assert set(medians.tolist()) <= {1, 2, 3, 4, 5}
    assert np.abs(medians - stars[rest]).mean() < 0.95 * np.abs(predicted[rest] - stars[rest]).mean()


def test_a_better_prediction_never_makes_a_level_less_likely_to_be_reached() -> None:
    predicted, features, stars = planted(2, 300)
    fit = fit_ordinal(Levels.of(stars), predicted, features, stars)
    reached = fit.reached(np.linspace(1, 5, 50, dtype=np.float32), np.zeros((50, 1), np.float32))
    assert (np.diff(reached, axis=0) > 0).all()
    assert (np.diff(reached, axis=1) < 0).all()


def test_of_few_ratings_the_training_shares_are_kept() -> None:
    _, _, train = planted(3, 5_000)
    levels, predicted = Levels.of(train), np.full(3, 4, np.float32)
    fit = fit_ordinal(levels, predicted, np.zeros((3, 1), np.float32), np.full(3, 1, np.float32))
    chances = fit.probabilities(predicted[:1], np.zeros((1, 1), np.float32))[0]
    np.testing.assert_allclose(chances, levels.shares, atol=0.05)


def test_without_any_validation_rating_there_is_a_distribution_too() -> None:
    _, _, train = planted(4, 1_000)
    nothing = np.zeros(0, np.float32)
    fit = fit_ordinal(Levels.of(train), nothing, np.zeros((0, 2), np.float32), nothing)
    assert np.isfinite(fit.probabilities(np.array([3], np.float32), np.zeros((1, 2), np.float32))).all()


def test_a_scale_of_one_value_is_certain() -> None:
    same = np.full(10, 3, np.float32)
    fit = fit_ordinal(Levels.of(same), same, np.zeros((10, 1), np.float32), same)
    assert fit.medians(same, np.zeros((10, 1), np.float32)).tolist() == [3] * 10
    assert fit.log_loss(same, np.zeros((10, 1), np.float32), same).max() == 0


@pytest.mark.parametrize(("step", "most"), [(0.5, 5.0), (1.0, 100.0)])
def test_half_stars_and_wide_scales(step: float, most: float) -> None:
    rng = np.random.default_rng(5)
    predicted = rng.normal(0.7 * most, 0.1 * most, 3_000)
    stars = (np.rint((predicted + rng.normal(0, 0.1 * most, 3_000)) / step) * step).clip(step, most).astype(np.float32)
    predicted = predicted.astype(np.float32)
    levels, features = Levels.of(stars), np.zeros((3_000, 1), np.float32)
    assert 8 <= len(levels.values) <= 11
    assert levels.shares.sum() == pytest.approx(1)
    assert levels.values @ levels.shares == pytest.approx(stars.mean(), rel=1e-5)
    medians = fit_ordinal(levels, predicted, features, stars).medians(predicted, features)
    assert np.abs(medians - stars).mean() < 1.1 * np.abs(predicted - stars).mean()


def test_the_gradient_is_the_slope_of_the_likelihood() -> None:
    predicted, features, stars = planted(6, 50)
    parameters, given = np.array([0.3, 0.2, -4.0, -2.5, -0.5, 1.5]), stars.astype(int) - 1
    m = predicted.astype(float) - 4

    def value(at: np.ndarray) -> float:
        return _negative_log_likelihood(at, m, features, given)[0]

    gradient = _negative_log_likelihood(parameters, m, features, given)[1]
    np.testing.assert_allclose(gradient, approx_fprime(parameters, value, 1e-6), rtol=1e-3, atol=1e-3)
