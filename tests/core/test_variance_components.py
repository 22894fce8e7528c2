"""Variances within and between groups, on planted data and in extreme cases, and the effects estimated with them."""

import numpy as np
import pytest

from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.training.variance_components import (
    VarianceComponents,
    fit_effects,
    shrunk_means,
    shrunk_means_without_own,
)


def planted(seed: int, within: float, between: float, groups: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Groups of very unequal size, from one value to hundreds."""
    rng = np.random.default_rng(seed)
    sizes = np.ceil(rng.pareto(1.2, groups)).astype(int).clip(1, 300)
    rows = np.repeat(np.arange(1, groups + 1), sizes).astype(np.int32)
    return rows, rng.normal(0, between**0.5, groups + 1)[rows] + rng.normal(0, within**0.5, len(rows))


@pytest.mark.parametrize(("within", "between"), [(1.0, 0.25), (0.5, 1.0), (1.0, 0.0)])
def test_planted_variances_are_recovered_without_bias(within: float, between: float) -> None:
    found = [VarianceComponents.of(*planted(seed, within, between), 400) for seed in range(40)]
    assert np.mean([f.within for f in found]) == pytest.approx(within, rel=0.02)
    # A variance cannot be negative: cut at zero, the estimate of none is a little above it.
    assert np.mean([f.between for f in found]) == pytest.approx(between, rel=0.1, abs=0.03)


def test_groups_of_equal_size_by_hand() -> None:
    """Means 1 and 5, each of two values one off: within 2, and the means vary by 8 of which within / 2 is noise."""
    found = VarianceComponents.of(np.array([1, 1, 2, 2], np.int32), np.array([0.0, 2, 4, 6]), 2)
    assert found == VarianceComponents(within=2, between=8 - 2 / 2)
    assert found.damping == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    ("groups", "values"),
    [
        ([1, 1, 1], [1.0, 2, 3]),  # one group
        ([1, 2, 3], [1.0, 2, 3]),  # every value alone
        ([1, 1, 2, 2], [3.0, 3, 3, 3]),  # constant
        ([1, 1, 2, 2], [0.0, 4, 0, 4]),  # means that differ by less than noise would make them
        ([], []),
    ],
)
def test_where_groups_do_not_show_that_they_differ_their_effects_are_zero(
    groups: list[int], values: list[float]
) -> None:
    rows, told = np.array(groups, np.int32), np.array(values)
    damping = VarianceComponents.of(rows, told, 3).damping
    assert damping == float("inf")
    assert not shrunk_means(rows, told, 3, damping).any()
    assert not shrunk_means_without_own(rows, told, 3, damping).any()


def test_groups_without_noise_are_believed() -> None:
    rows, values = np.array([1, 1, 2, 2], np.int32), np.array([-1.0, -1, 1, 1])
    damping = VarianceComponents.of(rows, values, 3).damping
    np.testing.assert_allclose(shrunk_means(rows, values, 3, damping), [0, -1, 1, 0], atol=1e-5)


def test_a_mean_without_its_own_value_is_that_of_the_others() -> None:
    rows, values = np.array([1, 1, 1, 2], np.int32), np.array([1.0, 2, 6, 9])
    np.testing.assert_allclose(shrunk_means_without_own(rows, values, 2, 2.0), [8 / 4, 7 / 4, 3 / 4, 0])


def test_the_estimated_damping_predicts_best() -> None:
    """Among dampings half and twice as large too: of the groups' true means, which nobody sees but here."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.5, 2_001)
    rows = np.repeat(np.arange(1, 2_001), rng.integers(1, 12, 2_000)).astype(np.int32)
    values = truth[rows] + rng.normal(0, 1, len(rows))
    damping = VarianceComponents.of(rows, values, 2_000).damping
    assert damping == pytest.approx(4, rel=0.15)
    errors = {k: np.square(shrunk_means(rows, values, 2_000, k * damping)[1:] - truth[1:]).mean() for k in (0.5, 1, 2)}
    assert min(errors, key=errors.__getitem__) == 1


def test_passes_tell_harsh_raters_from_bad_items() -> None:
    """Item 1 is rated by harsh people alone, who are harsh elsewhere too: one pass blames the item, four do not."""
    rng = np.random.default_rng(1)
    harsh = np.repeat([-1.0, 1.0], 30)
    rows = [(user, item) for user in range(60) for item in range(2, 12)] + [(user, 1) for user in range(30)]
    users, items = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    stars = (3 + harsh[users] + 0.3 * np.sign(items - 6) + rng.normal(0, 0.1, len(users))).astype(np.float32)
    ratings = Ratings(users + 1, items, stars)
    once, often = (fit_effects(ratings, 60, 11, passes=passes) for passes in (1, 8))
    assert once.items[1] < -0.8
    assert often.items[1] > -0.5
    assert often.users[1:31].mean() < once.users[1:31].mean()


def test_ratings_that_are_all_the_same_have_no_effects() -> None:
    of = Ratings(np.array([1, 1, 2], np.int32), np.array([1, 2, 1], np.int32), np.full(3, 4, np.float32))
    effects = fit_effects(of, 2, 2)
    assert (effects.mean, effects.items.any(), effects.users.any()) == (4, False, False)
