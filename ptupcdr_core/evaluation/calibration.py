"""Every method's predicted ratings as distributions, each calibrated in the same way on the validation users.

Squared errors are measured on the method's own predictions, the means. Absolute errors are measured on the medians of
the distributions if the validation users' ratings lie nearer to these, and otherwise on the means too: where a
distribution does not fit, its median is no good prediction.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.models.ordinal import Levels, OrdinalCalibration, fit_ordinal
from ptupcdr_core.training.variance_components import VarianceComponents, fit_effects, shrunk_means

BINS = 10
"""Groups of predicted probabilities in the reliability table."""


@dataclass(frozen=True)
class Distributions:
    """A method's predictions for some ratings.

    Args:
        means: (N,) predicted stars, within the scale.
        medians: (N,) of the distributions, or else the means; absolute errors are measured on them.
        log_loss: (N,) -log P(the given level).
        reached: (N, K-1) P(rating of at least the second, third, … level).
        given: (N,) which level was given, from 0.
    """

    means: Floats
    medians: Floats
    log_loss: Floats
    reached: Floats
    given: np.ndarray


@dataclass(frozen=True)
class Calibrator:
    """What all methods of a pair are calibrated with.

    Args:
        data: the pair's split.
        levels: of the target's training ratings.
        user_spread: (U+1,) how much further a user's source ratings lie from mean and effects than other users'.
        item_spread: (T+1,) the same of a target item's training ratings.
    """

    data: PairData
    levels: Levels
    user_spread: Floats
    item_spread: Floats

    @classmethod
    def of(cls, data: PairData) -> Self:
        """Measure the spread of a pair's source ratings and target training ratings."""
        train = data.target_train
        _, users = _spreads(data.source, data.user_count, data.source_item_count)
        items, _ = _spreads(train, data.user_count, data.target_item_count)
        return cls(data, Levels.of(train.stars), users, items)

    def features(self, ratings: Ratings) -> Floats:
        """(N, 2) spreads of user and item: how far these ratings may lie from a prediction."""
        return np.stack([self.user_spread[ratings.users], self.item_spread[ratings.items]], axis=1)

    def fit(self, scores: Floats) -> OrdinalCalibration:
        """Calibrate a method by its scores (N,) of the validation ratings."""
        validation = self.data.target_validation
        clipped = self.data.scale.clip(scores)
        return fit_ordinal(self.levels, clipped, self.features(validation), validation.stars)

    def distributions(self, validation_scores: Floats, scores: Floats, ratings: Ratings) -> Distributions:
        """Calibrate a method, and predict the distributions of other ratings.

        Args:
            validation_scores: of the validation ratings.
            scores: (N,) of the ratings.
            ratings: N.
        """
        calibration, means = self.fit(validation_scores), np.asarray(self.data.scale.clip(scores), np.float32)
        features = self.features(ratings)
        nearer = self._medians_are_nearer(calibration, validation_scores)
        return Distributions(
            means,
            calibration.medians(means, features) if nearer else means,
            np.asarray(calibration.log_loss(means, features, ratings.stars), np.float32),
            np.asarray(calibration.reached(means, features), np.float32),
            self.levels.level(ratings.stars),
        )

    def _medians_are_nearer(self, calibration: OrdinalCalibration, validation_scores: Floats) -> bool:
        """Whether the validation ratings lie nearer to the medians than to the means."""
        validation, means = self.data.target_validation, self.data.scale.clip(validation_scores)
        medians = calibration.medians(means, self.features(validation))
        of_medians, of_means = (np.abs(found - validation.stars).sum(dtype=np.float64) for found in (medians, means))
        return bool(of_medians < of_means)


def reliability(levels: Levels, found: Distributions) -> pd.DataFrame:
    """Compare predicted probabilities with how often they came true: the closer, the more reliable.

    Returns:
        One row for each level but the lowest and each group of probabilities: at_least (the level's value), low and
        high (of the group), ratings, predicted (mean probability) and observed (share of ratings that reached the
        level).
    """
    rows = []
    for k, value in enumerate(levels.values[1:]):
        said, came = found.reached[:, k], found.given > k
        group = np.minimum((said * BINS).astype(np.int64), BINS - 1)
        for g in np.unique(group):
            own = group == g
            rows.append(
                {
                    "at_least": float(value), "low": g / BINS, "high": (g + 1) / BINS, "ratings": int(own.sum()),
                    "predicted": float(said[own].mean()), "observed": float(came[own].mean()),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=["at_least", "low", "high", "ratings", "predicted", "observed"])


def _spreads(ratings: Ratings, user_count: int, item_count: int) -> tuple[Floats, Floats]:
    """(I+1,) and (U+1,) damped mean of |residual| of items and users, less that of all ratings."""
    effects = fit_effects(ratings, user_count, item_count)
    expected = effects.mean + effects.items[ratings.items] + effects.users[ratings.users]
    beyond = np.abs(ratings.stars - expected)
    beyond -= beyond.mean(dtype=np.float64)
    of_items, of_users = (
        shrunk_means(groups, beyond, count, VarianceComponents.of(groups, beyond, count).damping)
        for groups, count in ((ratings.items, item_count), (ratings.users, user_count))
    )
    return of_items, of_users
