"""The warm-start protocol: held-out users of whom the first target ratings are known.

A user's target ratings are split 1:1 by time. The first half is known, or only its first 1, 2, 4 or 8 ratings; the
second half is predicted, the same one however many are known. Ties are ordered by item id; without timestamps the order
is that of the file.

Shapes: R held-out users, N ratings.
"""

from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import Ratings, known_stars, reading_some
from ptupcdr_core.store.warehouse import Warehouse

Part = Literal["test", "validation"]
Known = Literal["0", "1", "2", "4", "8", "half"]

KNOWN: tuple[Known, ...] = get_args(Known)
"""How many ratings of the first half are known, fewest first; for users with fewer, the whole half is."""


@dataclass(frozen=True)
class WarmSplit:
    """Held-out users with both halves of their target ratings.

    Args:
        users: (R,) int32 user indices, ascending.
        first: the first halves, by user, then in the order of time.
        place: (N,) each rating's place in time among its user's in ``first``, from 0.
        second: the second halves, by user, then item; every user has at least one rating there.
    """

    users: Index
    first: Ratings
    place: NDArray[np.int64]
    second: Ratings

    @classmethod
    def of(cls, ratings: Ratings, place: NDArray[np.integer]) -> Self:
        """Split ratings that are ordered by user; with an odd number, the middle rating is predicted.

        Args:
            ratings: of held-out users, N of them.
            place: (N,) each rating's place in time among its user's, from 0.
        """
        users, rows, counts = np.unique(ratings.users, return_inverse=True, return_counts=True)
        known = place < (counts // 2)[rows]
        order = np.lexsort((place, ratings.users))
        order = order[known[order]]
        first = Ratings(ratings.users[order], ratings.items[order], ratings.stars[order])
        return cls(users, first, place[order].astype(np.int64), ratings.where(~known))

    def known(self, amount: Known) -> Ratings:
        """The ratings that are known: the first ones of each user's first half, or all of it."""
        return self.first if amount == "half" else self.first.where(self.place < int(amount))

    def rows(self, ratings: Ratings) -> NDArray[np.int64]:
        """(N,) the place in ``users`` of each rating's user."""
        return np.searchsorted(self.users, ratings.users)

    def counts(self, amount: Known) -> NDArray[np.int64]:
        """(R,) how many ratings of each user are known."""
        return np.bincount(self.rows(self.known(amount)), minlength=len(self.users))


def load_warm_split(warehouse: Warehouse, pair: str, part: Part) -> WarmSplit:
    """Read the held-out users of one part of a pair's target ratings, in the order of time.

    Raises:
        WarehouseError: the pair has not been split yet.
    """
    # A rating of unknown time counts as older than those of known time, as in the histories.
    with reading_some(warehouse, pair) as connection:
        columns = connection.execute(
            "select user_index::integer u, item_index::integer i, rating::float r, row_number() over "
            '(partition by user_index order by "timestamp" nulls first, if("timestamp" is null, r.place, null), '
            "item_index) - 1 as place from split_target_ratings r where part = ? order by u, i",
            [part],
        ).fetchnumpy()
    return WarmSplit.of(Ratings(columns["u"], columns["i"], known_stars(columns["r"])), columns["place"])
