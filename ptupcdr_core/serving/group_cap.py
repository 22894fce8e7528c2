"""Lists with a limited number of items of one group, such as a brand; the next best items replace those beyond it.

Shapes: B users of a block, K items of a list, T target items.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.sources.items import Items


@dataclass(frozen=True)
class GroupCap:
    """How many items of a group a list may have.

    Args:
        groups: (T+1,) int32, each item's group; 0: no group, so that nothing limits it.
        most: of any group, at least 1.
    """

    groups: Index
    most: int

    @classmethod
    def of(cls, ids: pa.Array, known: Items) -> Self | None:
        """The catalog's cap for the items with these (T+1,) ids; None where it says none."""
        if known.most_of_group is None:
            return None
        named = pa.array([known.groups.get(item) for item in ids.to_pylist()], pa.string())
        found = named.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return cls((found + 1).astype(np.int32), known.most_of_group)

    def among(self, kept: NDArray[np.bool_]) -> Self:
        """The same for those items that the mask (T+1,) marks."""
        return replace(self, groups=self.groups[kept])

    def beyond(self, items: NDArray[np.int64], hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(B, K) which items are beyond the limit: ``most`` items of their group come before them.

        Args:
            items: (B, K) best first.
            hidden: (B, K) those that are not shown anyway, and do not count.
        """
        groups = np.where(hidden, 0, self.groups[items])
        order = np.argsort(groups, axis=1, kind="stable")
        in_order, places = np.take_along_axis(groups, order, axis=1), np.arange(items.shape[1])[None]
        begins = np.diff(in_order, axis=1, prepend=-1) != 0
        before = places - np.maximum.accumulate(np.where(begins, places, 0), axis=1)
        beyond = np.zeros(items.shape, bool)
        np.put_along_axis(beyond, order, (before >= self.most) & (in_order > 0), axis=1)
        return beyond
