"""Lists without items that people have seen, and within the limit of items of a group.

Shapes: R users, B of a block, K items of a list, T target items, E coordinates, N pairs of a user and a seen item.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.exact_search import Block, Search, top_items
from ptupcdr_core.kernels.sparse_extra import ExtraScores, with_extra
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.group_cap import GroupCap


def unseen_items(
    found: Iterator[Block],
    target: TargetItems,
    user_vectors: Floats,
    seen: NDArray[np.int64],
    extra: ExtraScores | None = None,
    again: Search = top_items,
    cap: GroupCap | None = None,
) -> Iterator[Block]:
    """Remove seen items from the lists of a search, and fill up with the next best ones.

    A list without seen items and within the group limit stays. For the others, an exact search finds twice as many
    items each time until enough are left.

    Args:
        found: a search for the best K items, such as ``top_items``.
        target: the searched items, offsets and vectors (T+1, E).
        user_vectors: (R, E) float32, the users of the search.
        seen: (N,) numbers user · (T+1) + item, users counted from 0 in their order.
        extra: what was added to the scores of the search (see ``kernels.sparse_extra``).
        again: the exact search for the others.
        cap: how many items of a group a list may have; None: any number.

    Yields:
        The blocks; item 0 at the end of lists for which too few are left.
    """
    width = np.int64(len(target.offset))

    def hidden_of(users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
        hidden = np.isin(users[:, None] * width + items, seen)
        return hidden if cap is None else hidden | cap.beyond(items, hidden)

    for first, items, scores in found:
        users = first + np.arange(len(items), dtype=np.int64)
        waiting, length = users[hidden_of(users, items).any(1)], items.shape[1]
        if len(waiting):
            items, scores = items.copy(), scores.copy()
        while len(waiting):
            length, short = 2 * length, waiting[:0]
            searching = user_vectors[waiting]
            own = None if extra is None else partial(_of_some, extra, waiting)
            for start, longer, their_scores in with_extra(again(target, searching, length), target, searching, own):
                searched = waiting[start : start + len(longer)]
                hidden = hidden_of(searched, longer)
                order = np.argsort(hidden, axis=1, kind="stable")[:, : items.shape[1]]
                items[searched - first] = np.take_along_axis(np.where(hidden, 0, longer), order, axis=1)
                scores[searched - first] = np.take_along_axis(their_scores, order, axis=1)
                short = np.append(short, searched[(~hidden).sum(1) < items.shape[1]])
            waiting = short if length < width - 1 else short[:0]
        yield first, items, scores


def _of_some(extra: ExtraScores, users: NDArray[np.int64], places: NDArray[np.integer]) -> sp.csr_matrix:
    """What is added to the scores of some of the users, by their places among these."""
    return extra(users[places])
