"""The task-oriented loss of ranking bridges (see ``modes.ranking.bridging``) and its minimum.

Shapes: R bridge users, N pairs of bridge user and item, T target items, F features, X by Y the bridge.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.vectors import FAST, Constant, constant, load, loop, spread, store, total

UNOBSERVED_WEIGHT = 0.3
"""α: weight of any pair of user and item when bridges are fitted, relative to 1 for a taken one. Values from 0.03 to
0.3 do about equally well."""
STEPS = 30
"""Steps of conjugate gradients; the validation error no longer changes by then."""


@dataclass(frozen=True)
class TakenLoss:
    """The task-oriented loss of the bridge users, as a function of their bridged embeddings.

    Args:
        taken: (R, T+1) sparse float32, 1 where a user took an item.
        items: (T+1, Y) float32.
        everything: (Y, Y) α Σ v vᵀ.
        weights: (R, 1) float32 w, of mean 1.
        unit: the unit of the penalty λ.
    """

    taken: sp.csr_matrix
    items: Floats
    everything: Floats
    weights: Floats
    unit: float

    @classmethod
    def of(cls, taken: Ratings, items: Floats, users: Index) -> Self:
        """The loss for what the bridge users (ascending) took of the items (T+1, Y)."""
        rows, ones = np.searchsorted(users, taken.users), np.ones(len(taken), np.float32)
        matrix = sp.csr_matrix((ones, (rows, taken.items)), shape=(len(users), len(items)))
        weights = np.diff(matrix.indptr)[:, None] ** -0.5
        gram = items.T.astype(np.float64) @ items
        return cls(
            matrix,
            np.ascontiguousarray(items, np.float32),
            (UNOBSERVED_WEIGHT * gram).astype(np.float32),
            (weights / weights.mean()).astype(np.float32),
            UNOBSERVED_WEIGHT * len(users) * float(np.trace(gram)) / items.shape[1],
        )

    def fit(self, features: Floats, start: Floats, penalty: float | Floats) -> Floats:
        """The matrix W (F, Y) that minimizes the loss of û = start + features W, by conjugate gradients.

        Args:
            features: (R, F) float32.
            start: (R, Y) float32.
            penalty: λ in its unit; a number, or one for each feature (F, 1).
        """
        ridge = np.asarray(penalty * self.unit, np.float32)
        rest = features.T @ (self.weights * (self.taken @ self.items) - self._pull(start))
        matrix: Floats = np.zeros_like(rest)
        direction, square = rest.copy(), float(np.vdot(rest, rest))
        enough = 1e-10 * square
        for _ in range(STEPS):
            if square <= enough:
                break
            moved = features.T @ self._pull(features @ direction) + ridge * direction
            step = np.float32(square / float(np.vdot(direction, moved)))
            matrix += step * direction
            rest -= step * moved
            square, before = float(np.vdot(rest, rest)), square
            direction = rest + np.float32(square / before) * direction
        return matrix

    def _pull(self, embeddings: Floats) -> Floats:
        """(R, Y) w A û of every user, A = Σ_taken v vᵀ + α Σ v vᵀ."""
        embeddings = np.ascontiguousarray(embeddings, np.float32)
        own, coordinates = np.empty_like(embeddings), constant(embeddings.shape[1])
        _pull_to_taken(coordinates, self.taken.indptr, self.taken.indices, self.items, embeddings, own)
        return np.asarray(self.weights * (own + embeddings @ self.everything), np.float32)


@loop(fastmath=FAST)
def _pull_to_taken(
    coordinates: Constant, offsets: Index, columns: Index, items: Floats, embeddings: Floats, pulled: Floats
) -> None:
    """pulled = Σ_taken v (v · û) of every user; an item's vector is read once for both products."""
    for user in range(len(embeddings)):
        embedding = load(embeddings, user, 0, coordinates)
        sums = spread(np.float32(0), coordinates)
        for k in range(offsets[user], offsets[user + 1]):
            item = load(items, columns[k], 0, coordinates)
            sums = sums + total(embedding * item) * item
        store(pulled, user, 0, sums)
