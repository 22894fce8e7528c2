"""A sparse map from source items to target items that go with them, by ridge regression between rows of taken items.

B minimizes Σ_users |t - s B|² + λ |B|², where s and t are the rows of a bridge user in the source and in the target: 1
for an item that was taken. B is not of low rank, so it can say that *this* item goes with *that* one, which a bridge
between a few factors cannot. A user's scores are the sum of the rows of B of the user's source items, so people are
folded in by adding them up, and each source item's share of a score is its own entry: reasons are exact. Only the
strongest entries of each row are kept; they are nearly as good as all.

Where people took much, it is better to fit source rows that are scaled to length one, after items are weighted by w =
n^-b for n takers: then people who took much do not outweigh the rest, and popular items count less. w B is stored, so
scores are sums of rows as before.

It is solved in the bridge users' own dimensions, B = Sᵀ (S Sᵀ + λ I)⁻¹ T: by a factorization where they are few, and
else by conjugate gradients, which only multiply with the sparse S. Only a block of B is dense at a time.

Shapes: M bridge users, R people, S source items, T target items, C right sides. Row and column 0 are padding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.sparse_product import right_sides, sparse_product
from ptupcdr_core.kernels.threads import worked_ahead

STRONGEST = (50, 200)
"""Target items kept for each source item, at least and at most: so many that the map has about ``ENTRIES``."""
ENTRIES = 4_000_000
"""Wanted number of entries of the whole map (32 MB)."""
FEW_USERS = 4_096
"""Up to so many users, the matrix between users is factorized (67 MB); for more, conjugate gradients solve it."""
STEPS = 40
"""Steps of conjugate gradients, at most."""
ENOUGH = 1e-3
"""Conjugate gradients stop when the residual is this much shorter than the right side."""
BLOCK = 1 << 23
"""Numbers of a dense table held at a time."""


def taken(ratings: Ratings, user_count: int, item_count: int) -> sp.csr_matrix:
    """(R+1, items+1) float32: 1 where a user took an item."""
    ones = np.ones(len(ratings), np.float32)
    return sp.csr_matrix((ones, (ratings.users, ratings.items)), shape=(user_count + 1, item_count + 1))


@dataclass(frozen=True)
class RowKind:
    """How a map is fitted to source rows.

    Args:
        penalty: λ > 0: in items taken, or in people where rows have length one.
        exponent: b of the item weights n^-b of rows of length one; None: rows as they are.
    """

    penalty: float
    exponent: float | None = None

    def weights(self, rows: sp.csr_matrix) -> Floats:
        """(S+1,) float32 weights of the source items, from how many took each in these rows."""
        counts = np.asarray(rows.sum(0), np.float32).ravel()
        if self.exponent is None:
            return np.ones_like(counts)
        return np.where(counts > 0, np.maximum(counts, 1) ** -self.exponent, 0).astype(np.float32)

    def fitted_rows(self, rows: sp.csr_matrix, weights: Floats) -> sp.csr_matrix:
        """Rows (M, S+1) as the ridge reads them, with the items' weights."""
        return rows if self.exponent is None else unit_rows(rows, weights)


def unit_rows(rows: sp.csr_matrix, weights: Floats) -> sp.csr_matrix:
    """Rows (R, S+1) times the weights (S+1,) of their items, each of length one; float32."""
    weighted = (rows @ sp.diags(weights)).tocsr()
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1), np.float32)).ravel()
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return (sp.diags(inverse) @ weighted).tocsr().astype(np.float32)


@dataclass(frozen=True)
class RowRidge:
    """(S Sᵀ + λ I)⁻¹ of bridge users' rows.

    Args:
        rows: (M, S+1) sparse float32.
        penalty: λ > 0; see ``RowKind``.
    """

    rows: sp.csr_matrix
    penalty: float
    _factor: tuple[Floats, bool] | None = field(init=False, repr=False)
    _transposed: sp.csr_matrix = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Factorize, where the users are few."""
        factor = None
        if self.rows.shape[0] <= FEW_USERS:
            gram = (self.rows @ self.rows.T).toarray()
            gram[np.diag_indices_from(gram)] += self.penalty
            factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        object.__setattr__(self, "_factor", factor)
        object.__setattr__(self, "_transposed", self.rows.T.tocsr())

    def solve(self, right: Floats) -> Floats:
        """(M, C) float32 solutions for right sides (M, C)."""
        if self._factor is None:
            return self._conjugate_gradients(right)
        solution: Floats = scipy.linalg.cho_solve(self._factor, right, check_finite=False)
        return solution

    def scores(self, people: sp.csr_matrix, target: sp.csr_matrix) -> Floats:
        """(R, T+1) float32 scores of people by the full map, without computing it: Tᵀ (S Sᵀ + λ I)⁻¹ S s.

        Args:
            people: (R, S+1) their source rows.
            target: (M, T+1) the bridge users' rows in the target.
        """
        by_item = target.T.tocsr()
        scores = np.empty((people.shape[0], target.shape[1]), np.float32)
        size = right_sides(BLOCK // (max(self.rows.shape) + target.shape[1]))
        for start in range(0, len(scores), size):
            similar = (self.rows @ people[start : start + size].T).toarray()
            scores[start : start + size] = sparse_product(by_item, self.solve(similar)).T
        return scores

    def _conjugate_gradients(self, right: Floats) -> Floats:
        """Solve all right sides at once, each with its own step."""
        solution, rest, direction = np.zeros_like(right), right.copy(), right.copy()
        square = np.einsum("mc,mc->c", rest, rest)
        enough = ENOUGH**2 * square
        for _ in range(STEPS):
            if (square <= enough).all():
                break
            moved = sparse_product(self.rows, sparse_product(self._transposed, direction))
            moved += np.float32(self.penalty) * direction
            along = np.einsum("mc,mc->c", direction, moved)
            step = np.divide(square, along, out=np.zeros_like(square), where=along > 0)
            solution += step * direction
            rest -= step * moved
            before, square = square, np.einsum("mc,mc->c", rest, rest)
            direction *= np.divide(square, before, out=np.zeros_like(square), where=before > 0)
            direction += rest
        return solution


@dataclass(frozen=True)
class ItemMap:
    """The target items that go with each source item, best first.

    Args:
        offsets: (S+2,) int64, source item j's entries are at offsets[j]:offsets[j+1].
        items: (N,) int32 target items.
        weights: (N,) float32, what the source item adds to the score of the target item.
        target_item_count: T.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: Floats
    target_item_count: int

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return everything by name, as a checkpoint stores it."""
        return {
            "map_offsets": self.offsets,
            "map_items": self.items,
            "map_weights": self.weights,
            "map_target_items": np.array([self.target_item_count]),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Self:
        """Make the map that ``tensors()`` described."""
        offsets, items, weights = (np.asarray(tensors[f"map_{name}"]) for name in ("offsets", "items", "weights"))
        return cls(offsets, items, weights, int(tensors["map_target_items"][0]))

    @property
    def matrix(self) -> sp.csr_matrix:
        """(S+1, T+1) sparse float32, B."""
        shape = len(self.offsets) - 1, self.target_item_count + 1
        return sp.csr_matrix((self.weights, self.items, self.offsets), shape=shape)

    def scaled(self, factor: float) -> Self:
        """The same map, all weights times a factor."""
        return type(self)(self.offsets, self.items, np.float32(factor) * self.weights, self.target_item_count)

    def among(self, kept: NDArray[np.bool_]) -> Self:
        """The same map, restricted to the marked (T+1,) target items; the padding has to be marked."""
        matrix = self.matrix[:, np.flatnonzero(kept)].tocsr()
        return type(self)(matrix.indptr.astype(np.int64), matrix.indices, matrix.data, int(kept.sum()) - 1)

    def scores(self, people: sp.csr_matrix) -> sp.csr_matrix:
        """(R, T+1) sparse float32 scores of people with these source rows (R, S+1)."""
        scores = (people @ self.matrix).tocsr()
        scores.sort_indices()
        return scores

    def shares(self, source_items: NDArray[np.integer], target_items: NDArray[np.integer]) -> Floats:
        """(...,) float32: what a source item adds to the score of a target item.

        Args:
            source_items: (...,) indices; 0, the padding, adds nothing.
            target_items: (...,) indices, of the same shape.
        """
        found = np.asarray(self.matrix[source_items.ravel(), target_items.ravel()], np.float32)
        return found.reshape(source_items.shape)


def fit_item_map(
    source: sp.csr_matrix,
    target: sp.csr_matrix,
    kind: RowKind,
    weights: Floats | None = None,
    *,
    strongest: int | None = None,
) -> ItemMap:
    """Fit B to bridge users, and keep the strongest positive entries of each source item.

    Args:
        source: (M, S+1) their rows in the source.
        target: (M, T+1) their rows in the target.
        kind: how B is fitted.
        weights: (S+1,) of the source items; None: from these rows.
        strongest: most entries kept for each source item; None: by the number of source items.
    """
    weights = kind.weights(source) if weights is None else weights
    fitted = kind.fitted_rows(source, weights)
    ridge, columns, by_item = RowRidge(fitted, kind.penalty), fitted.tocsc(), target.T.tocsr()
    known = np.flatnonzero(np.diff(columns.indptr))
    strongest = strongest or int(np.clip(ENTRIES // max(1, len(known)), *STRONGEST))
    size = right_sides(BLOCK // (max(source.shape) + target.shape[1]))

    def rows(items: NDArray[np.int64]) -> tuple[NDArray[np.int32], Floats]:
        block = sparse_product(by_item, ridge.solve(columns[:, items].toarray()))
        return _strongest(np.ascontiguousarray(block.T), strongest)

    found = list(worked_ahead(rows, _blocks(known, size)))
    kept = min(strongest, target.shape[1] - 1)
    items = np.concatenate([np.zeros((0, kept), np.int32), *(block for block, _ in found)])
    entries = np.concatenate([np.zeros((0, kept), np.float32), *(block for _, block in found)])
    entries *= weights[known, None]
    positive = entries > 0
    counts = np.zeros(source.shape[1] + 1, np.int64)
    counts[known + 1] = positive.sum(1)
    return ItemMap(np.cumsum(counts), items[positive], entries[positive], target.shape[1] - 1)


def _blocks(places: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (places[start : start + size] for start in range(0, len(places), size))


def _strongest(block: Floats, count: int) -> tuple[NDArray[np.int32], Floats]:
    """(C, K) columns, and values, of the largest entries of each row (C, T+1), largest first, without the first
    column."""
    count = min(count, block.shape[1] - 1)
    best = np.argpartition(block[:, 1:], block.shape[1] - 1 - count, axis=1)[:, block.shape[1] - 1 - count :] + 1
    best.sort(axis=1)
    values = np.take_along_axis(block, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1).astype(np.int32), np.take_along_axis(values, order, axis=1)
