"""The strongest simple prediction of a cold-start user's ratings: item mean + slope · source offset + intercept.

All dampings are estimated (``training.variance_components``), slope and intercept are least squares over bridge users'
rows, in which each item's mean leaves out the row's own rating. The same rows decide whether user effects are taken out
of item means: where people's choice of items depends on how they rate, the plain mean of an item's raters predicts the
next one better.

Shapes: U users, T target items.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.training.variance_components import (
    PASSES,
    fit_effects,
    shrunk_means,
    shrunk_means_without_own,
)


@dataclass(frozen=True)
class SourceOffset:
    """The parts of the prediction by item and by user.

    Args:
        items: (T+1,) float32, mean, item effect and intercept, in stars.
        users: (U+1,) float32, slope times the user's offset in the source domain; zero where that is not known.
        slope: how much of an offset carries over.
        passes: number of rounds over item and user effects, the better of 1 and ``PASSES``.
    """

    items: Floats
    users: Floats
    slope: float
    passes: int


def fit_source_offset(data: PairData) -> SourceOffset:
    """Fit the prediction to a pair's source ratings and target training ratings."""
    fits = [_fit(data, passes) for passes in (1, PASSES)]
    return min(fits, key=lambda fit: fit[0])[1]


def _fit(data: PairData, passes: int) -> tuple[float, SourceOffset]:
    """The mean squared error over bridge users' rows, each item without the row's rating; and the fit."""
    train, count = data.target_train, data.target_item_count
    offsets = fit_effects(data.source, data.user_count, data.source_item_count, passes=passes).users.astype(np.float64)
    target = fit_effects(train, data.user_count, count, passes=passes)
    beyond_users = train.stars.astype(np.float64) - target.mean
    if passes > 1:
        beyond_users -= target.users[train.users]
    rows = np.isin(train.users, data.cohorts["bridge"])
    without_own = shrunk_means_without_own(train.items, beyond_users, count, target.item_damping)[rows]
    wanted = train.stars[rows] - target.mean - without_own
    slope, intercept, error = fit_line(offsets[train.users[rows]], wanted)
    items = target.mean + shrunk_means(train.items, beyond_users, count, target.item_damping) + intercept
    return error, SourceOffset(items.astype(np.float32), (slope * offsets).astype(np.float32), slope, passes)


class Line(NamedTuple):
    """A straight line, and its mean squared error."""

    slope: float
    intercept: float
    error: float


def fit_line(x: NDArray[Any], y: NDArray[Any]) -> Line:
    """Fit y by x, (N,) each, by least squares; slope 0 where x does not vary, all 0 without rows."""
    if not len(x):
        return Line(0.0, 0.0, 0.0)
    around, y = x - x.mean(dtype=np.float64), y.astype(np.float64)
    spread = float(around @ around)
    slope = float(around @ y) / spread if spread > 0 else 0.0
    intercept = float(y.mean() - slope * x.mean(dtype=np.float64))
    return Line(slope, intercept, float(np.square(y - slope * x - intercept).mean()))
