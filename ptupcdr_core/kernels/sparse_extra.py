"""Exact search where a few items of each user get something added to the score of offset and vectors.

What is added is never negative, and zero for most items. So the best K are among the best K by vectors alone and the
items with an addition: any other item ranks behind K others. Nothing is approximated.

Shapes: R users, B of a block, K items of a list, T items, E coordinates, N items with an addition.
"""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.exact_search import Block
from ptupcdr_core.kernels.target_items import TargetItems

ROWS = 4_096
"""Users whose additions are in memory at a time."""

ExtraScores = Callable[[NDArray[np.integer]], sp.csr_matrix]
"""Gives rows (B, T+1) of non-negative scores to add for the users at these places."""


def with_extra(
    found: Iterator[Block], target: TargetItems, user_vectors: Floats, extra: ExtraScores | None
) -> Iterator[Block]:
    """Add extra scores to the blocks of a search.

    Args:
        found: a search for the best K items by vectors alone, such as ``top_items``.
        target: the searched items, offsets and vectors (T+1, E).
        user_vectors: (R, E) float32, the users of the search.
        extra: what is added; None: nothing.

    Yields:
        Blocks, of equal scores the lower index first.
    """
    for start, items, scores in found:
        if extra is None:
            yield start, items, scores
            continue
        for first in range(0, len(items), ROWS):
            few = slice(first, first + ROWS)
            places = np.arange(start + first, start + first + len(items[few]))
            yield start + first, *_merged(items[few], scores[few], target, user_vectors[places], extra(places).tocoo())


def _merged(
    items: NDArray[np.int64], scores: Floats, target: TargetItems, vectors: Floats, added: sp.coo_matrix
) -> tuple[NDArray[np.int64], Floats]:
    (count, length), width = items.shape, np.int64(len(target.offset))
    rows, columns = added.row.astype(np.int64), added.col.astype(np.int64)
    sums = target.score(vectors, rows, columns) + added.data.astype(np.float32)
    kept = ~np.isin(np.arange(count)[:, None] * width + items, rows * width + columns)
    kept &= items > 0
    users = np.concatenate([np.nonzero(kept)[0], rows])
    candidates = np.concatenate([items[kept], columns])
    values = np.concatenate([scores[kept], sums])
    order = np.lexsort((candidates, -values, users))
    users, candidates, values = users[order], candidates[order], values[order]
    rank = np.arange(len(users)) - np.searchsorted(users, users)
    best = rank < length
    lists, their = np.zeros_like(items), np.full_like(scores, -np.inf)
    lists[users[best], rank[best]], their[users[best], rank[best]] = candidates[best], values[best]
    return lists, their
