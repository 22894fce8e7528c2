"""The common form of every fitted method."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.target_items import TargetItems


@dataclass(frozen=True)
class FittedMethod:
    """A method that can score any user for any target item of a pair.

    Args:
        name: the method's name in tables.
        items: the target items' offsets and vectors (T+1, E).
        embed: (R,) user indices to (R, E) float32 user vectors.
    """

    name: str
    items: TargetItems
    embed: Callable[[Index], Floats]

    def score(self, ratings: Ratings) -> Floats:
        """(N,) predicted stars for the users and items of these ratings, not yet clipped to the scale."""
        users, rows = np.unique(ratings.users, return_inverse=True)
        return self.items.score(self.embed(users), rows, ratings.items)
