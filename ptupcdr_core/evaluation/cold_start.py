"""The cold-start evaluation: every method's errors on the same test users, in sum and by user."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.evaluation.labels import labels
from ptupcdr_core.evaluation.slices import slice_errors
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.rating_errors import RatingErrors, rating_errors
from ptupcdr_core.settings import Settings


def evaluate(
    data: PairData, methods: Sequence[FittedMethod], settings: Settings, ids: NDArray[np.object_]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every test rating by every method.

    Args:
        data: the pair's split.
        methods: all fitted without a target rating of a test user.
        settings: stand beside each row.
        ids: (U+1,) user ids by index.

    Returns:
        One row a method (mae, rmse, …), in their order; and one row a method and test user, with the number
        of the user's test ratings and the sums of their absolute and squared errors.

    Raises:
        EvaluationError: a method left a rating without a score.
    """
    summaries, details = [], []
    for method in methods:
        scale = data.target_scale if settings.clipped else None
        errors = rating_errors(method.score(data.target_test), data.target_test, scale)
        about = labels(data.pair, method.name, "rating", settings)
        summaries.append({**about, **_summary(errors)})
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


def evaluate_slices(data: PairData, methods: Sequence[FittedMethod], settings: Settings) -> pd.DataFrame:
    """Every method's errors for whom and on what; see ``evaluation.slices``."""
    tables = []
    for method in methods:
        scores = method.score(data.target_test)
        scores = data.target_scale.clip(scores) if settings.clipped else scores
        about = labels(data.pair, method.name, "rating", settings)
        slices = slice_errors(data, scores, scores)
        tables.append(slices.assign(**about)[[*about, *slices.columns]])
    return pd.concat(tables, ignore_index=True)


def _summary(errors: RatingErrors) -> dict[str, object]:
    return {
        "users": len(errors.users),
        "ratings": int(errors.counts.sum()),
        "mae": errors.mae,
        "rmse": errors.rmse,
    }
