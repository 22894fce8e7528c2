"""What every method comes down to once it is fitted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ptupcdr_core.models.scorer import TargetItems
from ptupcdr_core.pair_data import Floats, Index, Ratings


@dataclass(frozen=True)
class FittedMethod:
    """A method that can score any user for any target item of a pair.

    Args:
        name: as it stands in the tables.
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
