"""How every method here predicts a rating: an item's offset plus a user vector times an item vector."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats

BLOCK = 1 << 18
"""Ratings scored at a time, so that the gathered vectors stay small however many are asked for."""


@dataclass(frozen=True)
class TargetItems:
    """The item side of a method's scores.

    Args:
        vectors: (T+1, E) float32.
        offset: (T+1,) float32, the score of an item for a user whose vector is zero.
    """

    vectors: Floats
    offset: Floats

    def score(self, user_vectors: Floats, rows: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """(N,) float32 scores of N (user, item) couples.

        Args:
            user_vectors: (R, E) float32.
            rows: (N,) row of ``user_vectors`` of each couple.
            items: (N,) target item index of each couple.
        """
        scores = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            products = np.einsum("ne,ne->n", user_vectors[rows[block]], self.vectors[items[block]])
            scores[block] = self.offset[items[block]] + products
        return scores
