"""The simple baselines, which every method has to beat; none of the published ones does here (docs/benchmark.md).

``global_mean``: μ, the mean target training rating.
``item_mean``: μ + Σ (r - μ) / (n_j + k), the damped mean of each item, k estimated by ``training.variance_components``.
``source_offset``: item mean + slope · source offset + intercept, see ``training.source_offset``.
``source_offset_fixed``: the same with every damping 5 and no intercept, for comparison with tables made so.
"""

from collections.abc import Iterator
from functools import partial
from typing import get_args

import numpy as np

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.settings import Recipe
from ptupcdr_core.training.calibrated import carry_over, damped_means
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.source_offset import fit_source_offset
from ptupcdr_core.training.variance_components import fit_effects


def simple_baselines(data: PairData) -> list[FittedMethod]:
    """Fit the first three to a pair's training ratings."""
    train = data.target_train
    effects = fit_effects(train, data.user_count, data.target_item_count, passes=1)
    offset = fit_source_offset(data)
    mean, nobody = np.float32(effects.mean), np.zeros(data.user_count + 1, np.float32)
    return [
        _method("global_mean", np.full_like(effects.items, mean), nobody),
        _method("item_mean", mean + effects.items, nobody),
        _method("source_offset", offset.items, offset.users),
    ]


def source_offset_fixed(data: PairData) -> FittedMethod:
    """The baseline with fixed dampings: μ + b_j + a · b_i, where a is fitted by least squares on bridge users."""
    train = data.target_train
    mean = np.float32(train.stars.mean(dtype=np.float64))
    bias = damped_means(train.items, train.stars - mean, data.target_item_count)
    offset = source_offsets(data)
    carried = carry_over(data.bridge_ratings, offset, mean, bias)
    return _method("source_offset_fixed", mean + bias, carried * offset)


def source_offsets(data: PairData) -> Floats:
    """(U+1,) b: how much kinder than others each user rates in the source domain, in stars; 0 if unknown."""
    source = data.source
    centered = source.stars - np.float32(source.stars.mean(dtype=np.float64))
    bias = damped_means(source.items, centered, data.source_item_count)
    return damped_means(source.users, centered - bias[source.items], data.user_count)


def _method(name: str, item_offset: Floats, user_offset: Floats) -> FittedMethod:
    items = TargetItems(np.ones((len(item_offset), 1), np.float32), item_offset.astype(np.float32))

    def embed(users: Index) -> Floats:
        return user_offset[users, None]

    return FittedMethod(name, items, embed)


def _fit(name: str, experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    methods = [*simple_baselines(experiment.data), source_offset_fixed(experiment.data)]
    yield from (Epoch(0, method, {}) for method in methods if method.name == name)


METHODS = tuple(
    Method(name, partial(_fit, name), Needs.RATINGS, get_args(Recipe))
    for name in ("global_mean", "item_mean", "source_offset", "source_offset_fixed")
)
