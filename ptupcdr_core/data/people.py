"""People of the source domain with their ratings and histories: all that folding in and bridging need.

Shapes: R people, counted from 1 (row 0 is padding), N ratings, M history entries, L history length.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import SPLIT, Ratings, known_stars, known_times
from ptupcdr_core.store.warehouse import Warehouse


@dataclass(frozen=True)
class People:
    """R people.

    Args:
        ratings: source ratings of users 1..R, ordered by user and item, each item once.
        histories: (R+1, L) int32 last positive source items, oldest first, padded with 0 at the end.
        history_stars: (R+1, L) float32, their ratings.
    """

    ratings: Ratings
    histories: Index
    history_stars: Floats

    def __len__(self) -> int:
        """Return R."""
        return len(self.histories) - 1

    def __getitem__(self, block: slice) -> "People":
        """The people at a slice of places (from 0), numbered from 1 again."""
        first, last, _ = block.indices(len(self))
        begin, end = np.searchsorted(self.ratings.users, [first + 1, last + 1])
        users, items, stars = self.ratings.users, self.ratings.items, self.ratings.stars
        times = None if self.ratings.times is None else self.ratings.times[begin:end]
        return People(
            Ratings(users[begin:end] - np.int32(first), items[begin:end], stars[begin:end], times),
            *(np.concatenate([table[:1], table[1:][first:last]]) for table in (self.histories, self.history_stars)),
        )

    def renumbered(self, indices: Index) -> "People":
        """The same people with other item indices; items without one are left out of ratings and histories.

        Args:
            indices: (S+1,) the new index of each item, ascending; 0 for items without one.
        """
        items, histories = indices[self.ratings.items], indices[self.histories]
        kept = np.argsort(histories == 0, axis=1, kind="stable")  # moves the padding to the end
        return People(
            replace(self.ratings, items=items).where(items > 0),
            np.take_along_axis(histories, kept, axis=1),
            np.take_along_axis(np.where(histories > 0, self.history_stars, 0), kept, axis=1),
        )

    @cached_property
    def rating_counts(self) -> NDArray[np.int64]:
        """(R+1,) number of source ratings of each."""
        return np.bincount(self.ratings.users, minlength=len(self) + 1)

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(M,) each: person, position and place among the ratings of every history entry, ordered by person."""
        people, positions = np.nonzero(self.histories)
        width = np.int64(max(self.histories.max(initial=0), self.ratings.items.max(initial=0)) + 1)
        places = np.searchsorted(
            self.ratings.users * width + self.ratings.items, people * width + self.histories[people, positions]
        )
        return people, positions, places


def people_of(
    warehouse: Warehouse, pair: str, users: Index, history_length: int, positive_above: float | None
) -> People:
    """These users of a pair's split, in this order.

    Args:
        warehouse: has the split.
        pair: its key.
        users: (R,) user indices, each once.
        history_length: L. If this or ``positive_above`` differs from the split's, histories are made anew; in a source
            without times then by item, since the split does not keep the file's order.
        positive_above: a rating above this is positive; None: every event is.
    """
    with warehouse.read(SPLIT, pair) as connection:
        [split] = connection.execute("select history_length, positive_above from split_summary").fetchall()
        as_split = split == (history_length, positive_above)
        wanted = pa.table({"user_index": users, "person": np.arange(1, len(users) + 1, dtype=np.int32)})
        connection.register("wanted", wanted)
        bounds = [int(users.min(initial=0)), int(users.max(initial=0))]  # so that few blocks of rows are read
        read = "from {} join wanted using (user_index) where user_index between ? and ? order by person, {}"
        ratings = connection.execute(
            'select person, item_index, rating, "timestamp"::float as moment '
            + read.format("split_source_ratings", "item_index"),
            bounds,
        ).fetchnumpy()
        made = ("select person, position, item_index, rating " + read.format("split_histories", "position"), bounds)
        anew = (_HISTORIES, [positive_above, history_length])
        entries = connection.execute(*(made if as_split else anew)).fetchnumpy()
    return people(len(users), history_length, ratings, entries)


_HISTORIES = """
with positive as (
    select person, item_index, rating,
        row_number() over (partition by person order by "timestamp" desc nulls last, item_index desc) as age
    from split_source_ratings join wanted using (user_index)
    where coalesce(rating > ?, true)
)
select person, (max(age) over (partition by person) - age)::integer as position, item_index, rating
from positive where age <= ?"""
"""As ``last_positive`` of ``sql/people.sql``, but with ties, and rows without a time, in the order of items."""


def people(
    count: int, history_length: int, ratings: dict[str, NDArray[Any]], entries: dict[str, NDArray[np.int32]]
) -> People:
    """R people from the columns of their ratings (person, item_index, rating, moment) and of their histories (person,
    position, item_index, rating)."""
    histories = np.zeros((count + 1, history_length), np.int32)
    stars = np.zeros((count + 1, history_length), np.float32)
    histories[entries["person"], entries["position"]] = entries["item_index"]
    stars[entries["person"], entries["position"]] = known_stars(entries["rating"])
    times = known_times(ratings["moment"])
    rated = Ratings(ratings["person"], ratings["item_index"], known_stars(ratings["rating"]), times)
    return People(rated, histories, stars)
