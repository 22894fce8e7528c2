"""What a bundle predicts of the ratings that people would give: stars, the median, and how likely they are to like the
item."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.data.people import People
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.settings import Mode

COLUMNS = ("stars", "median", "likely")


@dataclass(frozen=True)
class Foretelling:
    """Predicts how people would rate the items that they are recommended.

    Args:
        served: the mode ``rating``.
        people: everybody, as it knows them.
    """

    served: BundledMode
    people: People

    @classmethod
    def of(
        cls,
        modes: Mapping[Mode, BundledMode],
        served: BundledMode,
        people: People,
        read: Callable[[BundledMode], People],
    ) -> "Foretelling | None":
        """Of a bundle's mode ``rating``; None where it has none.

        Args:
            modes: of the bundle.
            served: the mode that recommends.
            people: as that mode knows them.
            read: reads the same people for another mode.
        """
        own = modes.get("rating")
        if own is None:
            return None
        same = own.reading == served.reading and own.source_ids.equals(served.source_ids)
        return cls(own, people if same else read(own))

    def beside(self, rows: pa.Table, block: slice, people: NDArray[np.int64], served: BundledMode) -> pa.Table:
        """N recommendations with the columns of ``foretold``.

        Args:
            rows: the recommendations.
            block: the people they are for, by place from 0.
            people: (N,) the person of each, by place in the block.
            served: the mode that made them; if its scores are predicted stars that are not calibrated, they are the
                stars.
        """
        said = foretold(self.served, self.people[block], people, rows["item_id"].combine_chunks())
        if served is self.served and served.part.stars is None:
            said = said.set_column(0, "stars", rows["score"])
        return pa.table([*rows.columns, *said.columns], names=[*rows.column_names, *said.column_names])


def foretold(served: BundledMode, people: People, rows: NDArray[np.int64], items: pa.Array) -> pa.Table:
    """Predicted ratings as people see them.

    Args:
        served: the mode ``rating``.
        people: R of them.
        rows: (N,) whose rating, by place from 0.
        items: (N,) text, ids of target items.

    Returns:
        N rows with stars (the mean), median, and likely, the probability that the person likes the item: rates it above
        the middle of the scale. All null for an item that the mode does not know, and where it is not calibrated.
    """
    places = pc.fill_null(pc.index_in(items, value_set=served.target_ids), 0).to_numpy(zero_copy_only=False)
    found = served.part.foretell(people, rows, places)
    if found is None:
        return pa.table({name: pa.nulls(len(items), pa.float32()) for name in COLUMNS})
    return pa.table([pa.array(values, pa.float32(), mask=places == 0) for values in found], names=list(COLUMNS))
