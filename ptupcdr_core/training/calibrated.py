"""The calibrated base model: mean, damped biases, and factors of what they leave unexplained.

Shapes: U users, I items, D embedding size. Row 0 of every table is padding and stays zero.

A rating is μ + b_i + o_u + p_u · q_i. Mean and damped biases are the strong simple baseline that published
cross-domain models lack; the factors are fitted by alternating least squares to the residuals alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.engines.base import Engine
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.training.als import als

DAMPING = 5.0
"""Pseudo-ratings at the mean that every bias is averaged with."""
REGULARIZATION = 4.0
"""Ridge penalty of the factors; chosen on validation users of several pairs, flat between 2 and 8."""
ITERATIONS = 15
LOSS_SAMPLE = 100_000
"""Ratings on which the training error is watched: all of them would cost as much as an iteration."""


@dataclass(frozen=True)
class CalibratedModel:
    """Biases and factors of one domain.

    Args:
        mean: () float32, μ, the mean of the training ratings.
        item_bias: (I+1,) float32, b, damped mean residual of each item.
        user_offset: (U+1,) float32, o, damped mean residual of each user beyond the item biases.
        user_spread: (U+1,) float32, how much further than others a user's ratings lie from mean and biases, in stars:
            the damped mean of |residual| less ``mean_deviation``.
        user_embedding: (U+1, D) float32, p.
        item_embedding: (I+1, D) float32, q.
        user_counts: (U+1,) float32, number of training ratings.
        item_counts: (I+1,) float32, number of training ratings.
        mean_deviation: () float32, the mean of |residual| over the training ratings.
    """

    mean: Floats
    item_bias: Floats
    user_offset: Floats
    user_spread: Floats
    user_embedding: Floats
    item_embedding: Floats
    user_counts: Floats
    item_counts: Floats
    mean_deviation: Floats

    def residuals(self, ratings: Ratings) -> Floats:
        """(N,) what mean and biases leave of each rating: the part that the factors explain."""
        baseline = self.mean + self.item_bias[ratings.items] + self.user_offset[ratings.users]
        return np.asarray(ratings.stars - baseline, dtype=np.float32)

    def tensors(self) -> dict[str, Floats]:
        """Return the parameters by name, as a checkpoint stores them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats]) -> Self:
        """Make the model that ``tensors()`` described."""
        return cls(**tensors)


def damped_means(rows: NDArray[np.int32], residuals: Floats, count: int) -> Floats:
    """(count+1,) Σ residuals / (n + DAMPING) of each row: near 0 for rows with few ratings."""
    totals = np.bincount(rows, residuals, count + 1)
    return (totals / (np.bincount(rows, minlength=count + 1) + DAMPING)).astype(np.float32)


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
    size: int,
    seed: int,
    on_epoch: Callable[[int, dict[str, float]], None],
    users_last: bool = False,
    engine: Engine = COMPILED,
) -> CalibratedModel:
    """Fit mean, biases and factors to one domain's ratings.

    Args:
        ratings: at least one.
        user_count: U.
        item_count: I.
        size: D.
        seed: fixes the initial item vectors.
        on_epoch: told the mean squared training error after every iteration, on a sample of the ratings.
        users_last: end by solving the users, so that whoever is folded in later stands where training would put them.
        engine: solves for the factors.
    """
    mean = np.float32(ratings.stars.mean(dtype=np.float64))
    item_bias = damped_means(ratings.items, ratings.stars - mean, item_count)
    user_offset = damped_means(ratings.users, ratings.stars - mean - item_bias[ratings.items], user_count)
    residuals = ratings.stars - mean - item_bias[ratings.items] - user_offset[ratings.users]
    deviations = np.abs(residuals)
    mean_deviation = deviations.mean(dtype=np.float64)
    sample = slice(None, None, max(1, len(ratings) // LOSS_SAMPLE))

    def report(iteration: int, users: Floats, items: Floats) -> None:
        predicted = np.einsum("nd,nd->n", users[ratings.users[sample]], items[ratings.items[sample]])
        on_epoch(iteration, {"training_loss": float(np.square(residuals[sample] - predicted).mean())})

    users, items = als(
        ratings.users,
        ratings.items,
        residuals,
        user_count,
        item_count,
        size=size,
        user_regularization=REGULARIZATION,
        item_regularization=REGULARIZATION,
        iterations=ITERATIONS,
        seed=seed,
        weighted=False,
        users_last=users_last,
        on_iteration=report,
        engine=engine,
    )
    return CalibratedModel(
        mean=np.asarray(mean),
        item_bias=item_bias,
        user_offset=user_offset,
        user_spread=damped_means(ratings.users, (deviations - mean_deviation).astype(np.float32), user_count),
        user_embedding=users,
        item_embedding=items,
        user_counts=np.bincount(ratings.users, minlength=user_count + 1).astype(np.float32),
        item_counts=np.bincount(ratings.items, minlength=item_count + 1).astype(np.float32),
        mean_deviation=np.asarray(mean_deviation, np.float32),
    )
