"""The cold-start evaluation: every method's errors on the same test users, in total and by user."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.calibration import Calibrator, Distributions, reliability
from ptupcdr_core.evaluation.labels import labels
from ptupcdr_core.evaluation.slices import slice_errors
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.ordinal import Levels
from ptupcdr_core.models.rating_errors import RatingErrors, errors_of_both, rating_errors
from ptupcdr_core.settings import Settings


@dataclass(frozen=True)
class Scored:
    """A method's predictions for the test ratings.

    Args:
        name: the method's.
        means: (N,) predicted stars; squared errors are measured on them.
        medians: (N,) medians of its calibrated distributions, or else the means; absolute errors are measured on them.
        distributions: predicted ones; None where predictions are not clipped.
    """

    name: str
    means: Floats
    medians: Floats
    distributions: Distributions | None

    def errors(self, test: Ratings) -> RatingErrors:
        """By user: squared errors of the means, absolute ones of the medians."""
        return errors_of_both(self.means, self.medians, test)


def score(data: PairData, methods: Sequence[FittedMethod], settings: Settings) -> list[Scored]:
    """Score every test rating by every method; where predictions are clipped, as distributions too.

    Raises:
        EvaluationError: a method left a rating without a score.
    """
    if not settings.clipped:
        return [Scored(method.name, (scores := method.score(data.target_test)), scores, None) for method in methods]
    calibrator = Calibrator.of(data)
    found = []
    for method in methods:
        scores = method.score(data.target_test)
        rating_errors(scores, data.target_test, None)  # refuses missing ones
        said = calibrator.distributions(method.score(data.target_validation), scores, data.target_test)
        found.append(Scored(method.name, said.means, said.medians, said))
    return found


def evaluate(
    data: PairData, scored: Sequence[Scored], settings: Settings, ids: NDArray[np.object_]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every method's errors on the test users.

    Args:
        data: the pair's split.
        scored: predictions of methods that were all fitted without a target rating of a test user.
        settings: written into each row.
        ids: (U+1,) user ids by index.

    Returns:
        One row a method in their order: rmse of its means, mae of its medians, mae_of_mean of its means, log_loss of
        its distributions (NaN without). And one row a method and test user, with the number of the user's test ratings
        and the sums of their absolute (medians) and squared errors (means).

    Raises:
        EvaluationError: a method left a rating without a score.
    """
    summaries, details = [], []
    for method in scored:
        errors = method.errors(data.target_test)
        about = labels(data.pair, method.name, "rating", settings)
        of_means = rating_errors(method.means, data.target_test, None).mae
        log_loss = (
            float("nan")
            if method.distributions is None
            else float(method.distributions.log_loss.mean(dtype=np.float64))
        )
        summaries.append({**about, **_summary(errors), "mae_of_mean": of_means, "log_loss": log_loss})
        details.append(
            pd.DataFrame(
                {
                    **about,
                    "user_id": ids[errors.users],
                    "ratings": errors.counts,
                    "absolute_error": errors.absolute,
                    "squared_error": errors.squared,
                }
            )
        )
    return pd.DataFrame(summaries), pd.concat(details, ignore_index=True)


def evaluate_slices(data: PairData, scored: Sequence[Scored], settings: Settings) -> pd.DataFrame:
    """Every method's errors by slices of users and items; see ``evaluation.slices``."""
    tables = []
    for method in scored:
        about = labels(data.pair, method.name, "rating", settings)
        slices = slice_errors(data, method.medians, method.means)
        tables.append(slices.assign(**about)[[*about, *slices.columns]])
    return pd.concat(tables, ignore_index=True)


def evaluate_reliability(data: PairData, scored: Sequence[Scored], settings: Settings) -> pd.DataFrame:
    """How reliable every method's distributions are, see ``evaluation.calibration``.

    Args:
        data: the pair's split.
        scored: methods, at least one with distributions.
        settings: written into each row.
    """
    levels, tables = Levels.of(data.target_train.stars), []
    for method in scored:
        if method.distributions is not None:
            about = labels(data.pair, method.name, "rating", settings)
            table = reliability(levels, method.distributions)
            tables.append(table.assign(**about)[[*about, *table.columns]])
    return pd.concat(tables, ignore_index=True)


def _summary(errors: RatingErrors) -> dict[str, object]:
    return {
        "users": len(errors.users),
        "ratings": int(errors.counts.sum()),
        "mae": errors.mae,
        "rmse": errors.rmse,
    }
