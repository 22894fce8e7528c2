"""Errors of predicted ratings. Every rating needs a score: a missing one is an error, never a skipped row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings, Scale
from ptupcdr_core.errors import EvaluationError


@dataclass(frozen=True)
class RatingErrors:
    """Errors over a set of ratings, kept by user so that methods can be compared in pairs.

    Args:
        users: (R,) int32, ascending.
        counts: (R,) ratings of each user.
        absolute: (R,) float64, sum of |error| of each user.
        squared: (R,) float64, sum of error² of each user.
    """

    users: NDArray[np.int32]
    counts: NDArray[np.int64]
    absolute: NDArray[np.float64]
    squared: NDArray[np.float64]

    @property
    def mae(self) -> float:
        """Mean absolute error over all ratings, in stars."""
        return float(self.absolute.sum() / self.counts.sum())

    @property
    def rmse(self) -> float:
        """Root mean squared error over all ratings, in stars."""
        return float(np.sqrt(self.squared.sum() / self.counts.sum()))


def rating_errors(scores: Floats, ratings: Ratings, scale: Scale | None) -> RatingErrors:
    """Compare predictions with the ratings that they predict.

    Args:
        scores: (N,) predicted stars.
        ratings: N ratings, at least one.
        scale: predictions are clipped to it; None leaves them as they are.

    Raises:
        EvaluationError: a score is missing (NaN) or infinite, or there is nothing to compare.
    """
    if len(scores) != len(ratings) or len(ratings) == 0:
        raise EvaluationError(f"{len(scores)} scores for {len(ratings)} ratings: every rating needs one score")
    if not np.isfinite(scores).all():
        at = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise EvaluationError(
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are missing or infinite, the first for "
            f"user index {ratings.users[at]}, item index {ratings.items[at]}. During training this means that the "
            "model diverged: choose a smaller learning_rate"
        )
    clipped = scores if scale is None else scale.clip(scores)
    errors = clipped.astype(np.float64) - ratings.stars
    users, row = np.unique(ratings.users, return_inverse=True)
    return RatingErrors(
        users=users,
        counts=np.bincount(row),
        absolute=np.bincount(row, np.abs(errors)).astype(np.float64),
        squared=np.bincount(row, errors**2).astype(np.float64),
    )


def errors_of_both(means: Floats, medians: Floats, ratings: Ratings) -> RatingErrors:
    """Squared errors of means, which minimize them, and absolute ones of medians, which minimize those.

    Args:
        means: (N,) predicted stars.
        medians: (N,) the same, or medians of the predicted distributions.
        ratings: N ratings, at least one.

    Raises:
        EvaluationError: as for ``rating_errors``.
    """
    squared, absolute = (rating_errors(scores, ratings, None) for scores in (means, medians))
    return RatingErrors(squared.users, squared.counts, absolute.absolute, squared.squared)
