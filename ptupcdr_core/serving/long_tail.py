"""Lists that show more of the target's items: of each person's best ones, those that fewer people took.

The ranking-based technique of Adomavicius and Kwon (IEEE TKDE 2012): among the items that score well for a person, less
popular ones are preferred; here by a mean of both ranks. A shown list stays ordered by its scores.

Shapes: B users of a block, K items of a list, P items that it is chosen from, T target items.
"""

from collections.abc import Iterator

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.exact_search import Block

POOL = 5
"""P is this many times K."""


def less_popular(found: Iterator[Block], taken: Floats, count: int, share: float) -> Iterator[Block]:
    """Shorten lists of the best P items to K.

    Args:
        found: blocks of lists (B, P), best first; item 0 at the end of shorter ones.
        taken: (T+1,) how many took each item.
        count: K, at least 1.
        share: weight of the popularity's rank in the mean, 0 to 1; 0 keeps the best K.

    Yields:
        The blocks with lists (B, up to K), best first.
    """
    for start, items, scores in found:
        by_score = np.arange(items.shape[1])[None]
        by_popularity = np.argsort(np.argsort(taken[items], axis=1, kind="stable"), axis=1, kind="stable")
        rank = (1 - share) * by_score + share * by_popularity
        rank = np.where(items > 0, rank, np.inf)
        kept = np.sort(np.argsort(rank, axis=1, kind="stable")[:, :count], axis=1)
        yield start, np.take_along_axis(items, kept, axis=1), np.take_along_axis(scores, kept, axis=1)
