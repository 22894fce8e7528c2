"""Lists beyond accuracy: how many of the target's items they show, and how little known these are.

Shapes: R users, K first places of a list, T target items.
Sources: self-information of recommended items: Zhou et al. (PNAS 2010); head and long tail by what the most popular
items hold together: Abdollahpouri et al. (RecSys 2017).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import PairData

COLUMNS = ("coverage_at_10", "self_information_at_10", "long_tail_at_10")
HEAD = 0.8
"""The fewest items that hold this share of what people took are the head; all others are the long tail."""


@dataclass(frozen=True)
class Shelf:
    """How known the target items are.

    Args:
        information: (T+1,) float64 bits, log2((U + 1) / (n + 1)) for an item that n of U users took: an item that half
            of the people have is worth one bit. One is added so that an item that nobody took has a number too.
        tail: (T+1,) bool, in the long tail.
    """

    information: NDArray[np.float64]
    tail: NDArray[np.bool_]

    @classmethod
    def of(cls, data: PairData) -> "Shelf":
        """From the target's training ratings."""
        users = len(np.unique(data.target_train.users))
        return cls.of_counts(np.bincount(data.target_train.items, minlength=data.target_item_count + 1), users)

    @classmethod
    def of_counts(cls, counts: NDArray[np.integer], users: int) -> "Shelf":
        """From the number of users who took each item (T+1,); of equally popular items, the lower index comes first.

        Raises:
            ValueError: an item was taken by more users than there are.
        """
        if counts.max(initial=0) > users:
            raise ValueError(f"an item was taken by {counts.max()} of {users} users")
        order = np.argsort(-counts, kind="stable")
        before = np.cumsum(counts[order]) - counts[order]
        tail = np.ones(len(counts), bool)
        tail[order[before < HEAD * counts.sum()]] = False
        return cls(np.log2((users + 1) / (counts + 1.0)), tail)

    def measures(self, lists: NDArray[np.integer]) -> dict[str, float]:
        """The measures in ``COLUMNS`` of first places (R, K), 0 where a list is shorter; NaN where all are empty.

        ``coverage_at_10``: the share of all items that stand in anybody's list; ``self_information_at_10``: mean bits
        of a listed item; ``long_tail_at_10``: share of listed items that are of the long tail.
        """
        listed = lists[lists > 0]
        if not len(listed):
            return {"coverage_at_10": 0.0, "self_information_at_10": np.nan, "long_tail_at_10": np.nan}
        return {
            "coverage_at_10": len(np.unique(listed)) / (len(self.tail) - 1),
            "self_information_at_10": float(self.information[listed].mean()),
            "long_tail_at_10": float(self.tail[listed].mean()),
        }
