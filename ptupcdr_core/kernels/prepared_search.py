"""The searches of this folder for a server: what is the same for every request is computed once.

Shapes: R users, T items, E coordinates, K items wanted.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.approximate_search import ItemGraph
from ptupcdr_core.kernels.exact_search import RESULTS, Block, Tiles, searched, tiles_of, top_items
from ptupcdr_core.kernels.target_items import TargetItems

BAND = math.sqrt(2)
"""Users within a factor of this in length share a layout of the items; in a wider band, searches end later."""
KEPT = 6
"""Layouts in memory, each as large as the item vectors."""

MOST = 100
"""Longest list that a kept graph is built for; longer lists are searched for exactly."""


class PreparedItems:
    """``top_items`` with cached layouts of the items: ordering a million items takes longer than a search.

    May be called by several threads at once.

    Args:
        target: the items; any other items, also a part of these, are searched by ``top_items`` itself.

    Raises:
        ValueError: a number is not finite.
    """

    def __init__(self, target: TargetItems) -> None:
        """Keep the items."""
        if not all(np.isfinite(array).all() for array in (target.vectors, target.offset)):
            raise ValueError("vectors and offsets must be finite")
        self.target = target
        self._layouts: OrderedDict[tuple[float, float], Tiles] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, target: TargetItems, user_vectors: Floats, count: int) -> Iterator[Block]:
        """Search as ``top_items`` does; see there."""
        if target is not self.target:
            yield from top_items(target, user_vectors, count)
            return
        wanted = min(count, len(target.offset) - 1)
        block = max(1, RESULTS // max(1, wanted))
        for start in range(0, len(user_vectors), block):
            found = searched(user_vectors[start : start + block], self._laid_out, wanted)
            yield start, found.items + 1, found.scores

    def _laid_out(self, shortest: float, longest: float) -> Tiles:
        band = _power_below(shortest), _power_above(longest)
        with self._lock:
            if band not in self._layouts:
                self._layouts[band] = tiles_of(self.target.vectors[1:], self.target.offset[1:], *band)
            self._layouts.move_to_end(band)
            while len(self._layouts) > KEPT:
                self._layouts.popitem(last=False)
            return self._layouts[band]


class PreparedGraph:
    """``approximate_top_items`` with a cached graph.

    Args:
        target: the items; search among any other items, also a part of these, is exact.
        users: (R, E) float32 users like those that will be searched for; they determine the graph's coordinates.
        threads: number of threads that build the graph; with more than one, it differs every time.
    """

    def __init__(self, target: TargetItems, users: Floats, threads: int = 1) -> None:
        """Build the graph."""
        self.target = target
        self._graph = ItemGraph.of(target, users, MOST, threads)

    def __call__(self, target: TargetItems, user_vectors: Floats, count: int) -> Iterator[Block]:
        """Search as ``approximate_top_items`` does; see there."""
        wanted = min(count, len(target.offset) - 1)
        if target is not self.target or wanted > MOST:
            yield from top_items(target, user_vectors, count)
        elif len(user_vectors) == 1:
            # The graph's search for a single user is another function with another form of result.
            _, items, scores = next(self._graph.search(np.repeat(user_vectors, 2, axis=0), wanted))
            yield 0, items[:1], scores[:1]
        elif len(user_vectors):
            yield from self._graph.search(user_vectors, wanted)


def _power_below(length: float) -> float:
    return 0.0 if length <= 0 else BAND ** math.floor(math.log(length, BAND))


def _power_above(length: float) -> float:
    return 0.0 if length <= 0 else BAND ** (math.floor(math.log(length, BAND)) + 1)
