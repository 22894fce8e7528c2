"""The best items of people for a part of a bundle, without what they have seen."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.people import People
from ptupcdr_core.kernels.exact_search import Block, Search, top_items
from ptupcdr_core.kernels.sparse_extra import with_extra
from ptupcdr_core.modes.part import Part
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.group_cap import GroupCap
from ptupcdr_core.serving.unseen import unseen_items
from ptupcdr_core.sources.items import Items

GRAPH_FROM = 100_000
"""Eligible items, up to which search is always exact. With 5,000 of a million, exact search took .01 s for 1,000
people; a graph .4 s, and found 98 %."""


def may_miss_items(served: BundledMode, known: Items) -> bool:
    """Whether approximate search may be used: with few eligible items, search is exact whatever was asked for."""
    return known.eligible is None or len(served.target_ids) > GRAPH_FROM


def best_lists(
    part: Part,
    people: People,
    embeddings: Floats,
    k: int,
    seen: NDArray[np.int64],
    search: Search = top_items,
    again: Search = top_items,
    cap: GroupCap | None = None,
) -> Iterator[Block]:
    """Search for everybody's best items by the full score, parts beside the bridge included.

    Args:
        part: the models.
        people: R of them.
        embeddings: (R, Y) theirs.
        k: how many items, at least 1.
        seen: (N,) what is left out, as ``unseen_items`` takes it.
        search: by vectors alone: exact, or approximate.
        again: an exact search, for those who have seen something of their list.
        cap: how many items of a group a list may have.
    """
    vectors, extra = part.sought(people, embeddings)
    found = with_extra(search(part.target, vectors, k), part.target, vectors, extra)
    return unseen_items(found, part.target, vectors, seen, extra, again, cap)
