"""What a bundle says of ratings that people would give: stars, the median, and how likely they are to like the item."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.data.people import People
from ptupcdr_core.serving.bundled_mode import BundledMode

COLUMNS = ("stars", "median", "likely")


def foretold(served: BundledMode, people: People, rows: NDArray[np.int64], items: pa.Array) -> pa.Table:
    """Predicted ratings as people see them.

    Args:
        served: the mode ``rating``.
        people: R of them.
        rows: (N,) whose, from 0.
        items: (N,) text, ids of target items.

    Returns:
        N rows with stars (the mean), median, and likely, the probability that the person likes the item: rates it above
        the middle of the scale. All null for an item that the mode does not know, and where it is not calibrated.
    """
    places = pc.fill_null(pc.index_in(items, value_set=served.target_ids), 0).to_numpy(zero_copy_only=False)
    found = served.part.foretell(people, rows, places)
    if found is None:
        return pa.table({name: pa.nulls(len(items), pa.float32()) for name in COLUMNS})
    return pa.table([pa.array(values, mask=places == 0) for values in found], names=list(COLUMNS))
