"""For whom a method works: errors by source history, by number of target ratings, by popularity of the item."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData

BOUNDS: dict[str, Sequence[int]] = {
    "history_length": (0, 1, 3, 6, 11, 20),
    "target_ratings": (1, 3, 6, 11, 21),
    "item_popularity": (0, 1, 5, 20, 100),
}
"""The least number of each bucket; the last bucket has no upper end.

``history_length``: the user's positive source items, at most L. ``target_ratings``: the user's test ratings.
``item_popularity``: the item's target training ratings.
"""


def slice_errors(data: PairData, mae_scores: Floats, rmse_scores: Floats) -> pd.DataFrame:
    """Errors on the test ratings, bucket by bucket.

    Args:
        data: the pair's split.
        mae_scores: (N,) predicted stars, or medians, that absolute errors are measured on.
        rmse_scores: (N,) predicted stars that squared errors are measured on.

    Returns:
        One row a slice and bucket that has ratings: slice, at_least, at_most (null where there is no upper end), users,
        ratings, mae, rmse.
    """
    test = data.target_test
    absolute = np.abs(mae_scores.astype(np.float64) - test.stars)
    squared = np.square(rmse_scores.astype(np.float64) - test.stars)
    rows = []
    for name, amounts in _amounts(data).items():
        bucket = np.searchsorted(np.asarray(BOUNDS[name]), amounts, side="right") - 1
        for number in np.unique(bucket):
            inside = bucket == number
            rows.append(
                {
                    "slice": name,
                    "at_least": BOUNDS[name][number],
                    "at_most": BOUNDS[name][number + 1] - 1 if number + 1 < len(BOUNDS[name]) else None,
                    "users": len(np.unique(test.users[inside])),
                    "ratings": int(inside.sum()),
                    "mae": float(absolute[inside].mean()),
                    "rmse": float(np.sqrt(squared[inside].mean())),
                }
            )
    return pd.DataFrame(rows).astype({"at_most": "Int64"})


def _amounts(data: PairData) -> dict[str, NDArray[np.integer]]:
    """(N,) what each test rating is sliced by."""
    test = data.target_test
    return {
        "history_length": (data.histories[test.users] > 0).sum(1),
        "target_ratings": np.bincount(test.users, minlength=data.user_count + 1)[test.users],
        "item_popularity": np.bincount(data.target_train.items, minlength=data.target_item_count + 1)[test.items],
    }
