"""The calibrated base model: mean, damped biases, and factors of their residuals.

Shapes: U users, I items, D embedding size. Row 0 of every table is padding and stays zero.

A rating is μ + b_i + o_u + p_u · q_i. Mean and damped biases are the strong simple baseline that published cross-domain
models lack; each damping is estimated from variances. The factors are fitted to the residuals by alternating least
squares.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.engines.base import Engine
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.training.als import Entries, Plan
from ptupcdr_core.training.beside import als_beside
from ptupcdr_core.training.calibrated_model import (
    MOST_DAMPING,
    REGULARIZATION,
    CalibratedModel,
    centered_logs,
    rater_weights,
    top_ratings,
)
from ptupcdr_core.training.variance_components import VarianceComponents, fit_effects, shrunk_means

FIXED_DAMPING = 5.0
"""Pseudo-ratings of the baseline ``source_offset_fixed``, as older tables have it."""
ITERATIONS = 15
LOSS_SAMPLE = 100_000
"""Ratings on which the training error is measured: all of them would cost as much as an iteration."""


def damped_means(rows: NDArray[np.int32], residuals: Floats, count: int) -> Floats:
    """(count+1,) Σ residuals / (n + FIXED_DAMPING) of each row: near 0 for rows with few ratings."""
    totals = np.bincount(rows, residuals, count + 1)
    return (totals / (np.bincount(rows, minlength=count + 1) + FIXED_DAMPING)).astype(np.float32)


def carry_over(ratings: Ratings, offsets: Floats, mean: np.float32, item_bias: Floats) -> np.float32:
    """The number a of the baseline "item mean + source offset": by least squares of r - μ - b_i on a · offset.

    Args:
        ratings: target ratings of bridge-training users.
        offsets: (U+1,) damped mean residual of each user in the source domain.
        mean: μ of the target.
        item_bias: (T+1,) damped mean residual of each target item.
    """
    known = offsets[ratings.users].astype(np.float64)
    spread = float(known @ known)
    residuals = ratings.stars - mean - item_bias[ratings.items]
    return np.float32(known @ residuals / spread if spread > 0 else 0)


def fit_calibrated(
    ratings: Ratings,
    user_count: int,
    item_count: int,
    *,
    blocks: Blocks | None = None,
    size: int,
    seed: int,
    on_epoch: Callable[[int, dict[str, float]], None],
    users_last: bool = False,
    engine: Engine = COMPILED,
) -> CalibratedModel:
    """Fit mean, biases and factors to one domain's ratings, or to those of several: then each has factors and a level
    of its own, while a person's offset and spread are those of all their ratings.

    Args:
        ratings: at least one.
        user_count: U.
        item_count: I.
        blocks: the items of several domains; None: of one.
        size: D of a domain.
        seed: fixes the initial item vectors.
        on_epoch: called after every iteration with the mean squared training error on a sample of the ratings.
        users_last: end by solving the users, so that folding in later gives the same vectors as training.
        engine: solves for the factors.
    """
    highest = ratings.stars.max()
    tops = top_ratings(ratings.stars, highest)
    top_share = np.float32(tops.mean())
    level = None if blocks is None or len(blocks) == 1 else _levels(ratings, blocks)
    ratings = ratings if level is None else replace(ratings, stars=ratings.stars - level[ratings.items])
    effects = fit_effects(ratings, user_count, item_count)
    plain = fit_effects(ratings, user_count, item_count, passes=1)
    mean, item_bias, user_offset = np.float32(effects.mean), effects.items, effects.users
    residuals = ratings.stars - mean - item_bias[ratings.items] - user_offset[ratings.users]
    deviations = np.abs(residuals)
    mean_deviation = np.float32(deviations.mean(dtype=np.float64))
    beyond = deviations - mean_deviation
    sample = slice(None, None, max(1, len(ratings) // LOSS_SAMPLE))

    def report(iteration: int, users: Floats, items: Floats) -> None:
        predicted = np.einsum("nd,nd->n", users[ratings.users[sample]], items[ratings.items[sample]])
        on_epoch(iteration, {"training_loss": float(np.square(residuals[sample] - predicted).mean())})

    ridge = Ridge(REGULARIZATION, weighted=False)
    users, items = als_beside(
        Entries(ratings.users, ratings.items, residuals, user_count, item_count),
        blocks or Blocks((item_count,)),
        Plan(size, ridge, ridge, ITERATIONS, seed, users_last),
        on_iteration=report,
        engine=engine,
    )
    user_counts = np.bincount(ratings.users, minlength=user_count + 1).astype(np.float32)
    item_counts = np.bincount(ratings.items, minlength=item_count + 1).astype(np.float32)
    of_item, of_user = (ratings.items, item_count), (ratings.users, user_count)
    user_spread, user_spread_damping = _damped(beyond, *of_user)
    rater_spread, rater_spread_damping = _damped(user_spread[ratings.users], *of_item)
    rater_counts, rater_counts_damping = _damped(centered_logs(user_counts)[ratings.users], *of_item)
    item_spread, item_spread_damping = _damped(beyond, *of_item)
    weighed = (rater_weights(user_spread, float(mean_deviation))[ratings.users] - 1) * residuals
    rated_counts, rated_counts_damping = _damped(centered_logs(item_counts)[ratings.items], *of_user)
    item_bias = item_bias if level is None else item_bias + level
    user_tops, tops_damping = _damped(tops - top_share, *of_user)
    user_agreement, agreement_damping = _damped(item_bias[ratings.items] * residuals, *of_user)
    of_items = effects.item_damping, plain.item_damping, rater_spread_damping, rater_counts_damping, item_spread_damping
    of_users = effects.user_damping, user_spread_damping, rated_counts_damping, tops_damping, agreement_damping
    return CalibratedModel(
        mean=np.asarray(mean),
        item_bias=item_bias,
        item_mean=plain.items if level is None else plain.items + level,
        rater_spread=rater_spread,
        rater_counts=rater_counts,
        item_spread=item_spread,
        item_weighting=shrunk_means(ratings.items, weighed, item_count, effects.item_damping),
        user_offset=user_offset,
        user_spread=user_spread,
        rated_counts=rated_counts,
        user_tops=user_tops,
        user_agreement=user_agreement,
        user_embedding=users,
        item_embedding=items,
        user_counts=user_counts,
        item_counts=item_counts,
        mean_deviation=np.asarray(mean_deviation),
        highest=np.asarray(highest),
        top_share=np.asarray(top_share),
        dampings=np.minimum([*of_items, *of_users], MOST_DAMPING).astype(np.float32),
    )


def _levels(ratings: Ratings, blocks: Blocks) -> Floats:
    """(I+1,) the mean rating of each item's domain less the mean of all ratings."""
    of_ratings = blocks.of_items[ratings.items]
    means = np.bincount(of_ratings, ratings.stars) / np.bincount(of_ratings)
    return np.asarray((means - ratings.stars.mean(dtype=np.float64))[blocks.of_items], np.float32)


def _damped(values: Floats | NDArray[np.float64], groups: NDArray[np.int32], count: int) -> tuple[Floats, float]:
    """(G+1,) damped mean of each group's values, and the damping."""
    damping = VarianceComponents.of(groups, values, count).damping
    return shrunk_means(groups, values, count, damping), damping
