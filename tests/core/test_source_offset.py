"""Item mean + source offset with estimated dampings: worked out by hand, without leakage, on planted selection."""

from dataclasses import replace

import numpy as np
import pytest
from small_pair import small_pair

from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.training.source_offset import fit_source_offset
from ptupcdr_core.training.variance_components import VarianceComponents, fit_effects


def test_it_is_least_squares_on_rows_whose_items_do_not_know_them() -> None:
    data = small_pair()
    train, fit = data.target_train, fit_source_offset(data)
    source = fit_effects(data.source, data.user_count, data.source_item_count, passes=fit.passes)
    target = fit_effects(train, data.user_count, data.target_item_count, passes=fit.passes)
    values = train.stars - target.mean - (target.users[train.users] if fit.passes > 1 else 0)
    rows, wanted = [], []
    for at in np.flatnonzero(np.isin(train.users, data.cohorts["bridge"])):
        others = (train.items == train.items[at]) & (np.arange(len(train)) != at)
        rows.append([source.users[train.users[at]], 1])
        wanted.append(train.stars[at] - target.mean - values[others].sum() / (others.sum() + target.item_damping))
    (slope, intercept), *_ = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)
    assert fit.slope == pytest.approx(slope, rel=1e-4)
    np.testing.assert_allclose(fit.users, slope * source.users, rtol=1e-4, atol=1e-6)
    item = int(train.items[0])
    own = train.items == item
    expected = target.mean + values[own].sum() / (own.sum() + target.item_damping) + intercept
    assert fit.items[item] == pytest.approx(expected, rel=1e-5)


def of_one_rater_an_item(seed: int) -> PairData:
    """Target items with one rater each, whose rating is noise: a model that sees a row's own rating trusts it."""
    data, rng = small_pair(seed), np.random.default_rng(seed)
    users = np.repeat(data.cohorts["bridge"], 2)
    items = np.arange(1, len(users) + 1, dtype=np.int32)
    train = Ratings(users, items, rng.choice([1.0, 3, 5], len(users)).astype(np.float32))
    return replace(data, target_train=train, target_item_count=len(users))


def test_items_of_one_rater_teach_nothing() -> None:
    data = of_one_rater_an_item(0)
    fit = fit_source_offset(data)
    assert VarianceComponents.of(data.target_train.items, data.target_train.stars, 60).damping == float("inf")
    assert np.ptp(fit.items) == 0


def test_without_bridge_users_it_is_the_item_mean() -> None:
    data = small_pair()
    nobody = replace(data, cohorts=data.cohorts | {"bridge": data.cohorts["bridge"][:0]})
    fit = fit_source_offset(nobody)
    assert fit.slope == 0
    assert not fit.users.any()


def test_plain_item_means_serve_where_people_choose_by_how_they_rate() -> None:
    """Fans give 5 and rate the first items, critics give 1 and the last; and so do those who rate them next.
    The source offset does not tell them apart, so the item has to."""
    data, rng = small_pair(), np.random.default_rng(3)
    users = np.sort(np.concatenate([data.cohorts["bridge"]] * 6))
    fan = (users % 2).astype(bool)
    items = np.where(fan, rng.integers(1, 16, len(users)), rng.integers(6, 21, len(users))).astype(np.int32)
    stars = np.where(fan, 5, 1) - np.where(fan, 1, -1) * (rng.random(len(users)) < 0.1)
    selected = replace(data, target_train=Ratings(users, items, stars.astype(np.float32)))
    fit = fit_source_offset(selected)
    assert fit.passes == 1
    assert fit.items[3] > fit.items[18]
