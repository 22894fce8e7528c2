"""What a ranking bridge has to beat: popularity, a kernel ridge between rows, and cross-domain neighbours.

``popularity``: how many users took an item. ``kernel_ridge``: a user's target row is predicted from the source row
alone, by ridge regression on cosines between source rows of bridge users (items weighted by n^-b, b and the penalty
chosen on validation users). ``item_knn``: a target item scores by the cosines between it and the user's source items,
over bridge users; all neighbours count, the target's exponent chosen on validation users.

Shapes: R users, S source items, T target items, M bridge users of the kernel.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.rankings import Rankings, best_of_rows, measure, rank_by_vectors
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread

KERNEL_USERS = 6_000
"""The kernel ridge reads at most so many bridge users, every n-th: its matrix has this squared entries."""
KERNEL_WEIGHTS = (0.0, 0.25, 0.5)
"""Exponents b of source items."""
KERNEL_PENALTIES = (100.0, 1000.0)
"""In units of the mean diagonal entry."""
NEIGHBOUR_EXPONENTS = (0.5, 0.3, 0.1)
"""Of the target item's number of users; with a half, as for the source item's, it is the cosine."""
CHOOSING_USERS = 500
"""Validation users that fits are told apart by, at most."""
BLOCK = 1 << 24
"""Scores held at a time."""

Rank = Callable[[Index, Ratings], Rankings]
"""Measures a method on users (ascending) and the items that they took."""


def ranking_baselines(data: PairData) -> dict[str, Rank]:
    """Fit all three; no test user's target rating is read."""
    rows = _Rows.of(data)
    return {"popularity": _popularity(data), "kernel_ridge": _kernel_ridge(data, rows), "item_knn": _knn(data, rows)}


@dataclass(frozen=True)
class _Rows:
    """Who took what: (U+1, S+1) in the source, and (M, T+1) bridge users in the target; ``users`` are theirs."""

    source: sp.csr_matrix
    target: sp.csr_matrix
    users: Index

    @classmethod
    def of(cls, data: PairData) -> "_Rows":
        return cls(
            _matrix(data.source, data.user_count, data.source_item_count),
            _matrix(data.bridge_ratings, data.user_count, data.target_item_count)[data.cohorts["bridge"]],
            data.cohorts["bridge"],
        )

    def thinned(self, most: int) -> "_Rows":
        """At most so many bridge users, evenly chosen."""
        step = -(-len(self.users) // most)
        return _Rows(self.source, self.target[::step], self.users[::step])


def _matrix(ratings: Ratings, user_count: int, item_count: int) -> sp.csr_matrix:
    ones = np.ones(len(ratings), np.float32)
    return sp.csr_matrix((ones, (ratings.users, ratings.items)), shape=(user_count + 1, item_count + 1))


def _popularity(data: PairData) -> Rank:
    counts = np.bincount(data.target_train.items, minlength=data.target_item_count + 1).astype(np.float32)
    items = TargetItems(np.zeros((len(counts), 1), np.float32), counts)
    return lambda users, relevant: rank_by_vectors(items, np.zeros((len(users), 1), np.float32), users, relevant)


def _kernel_ridge(data: PairData, rows: _Rows) -> Rank:
    rows = rows.thinned(KERNEL_USERS)

    def fits() -> Iterator[Rank]:
        for weight in KERNEL_WEIGHTS:
            source = _cosines(_weighted(rows.source, weight))
            own = source[rows.users].T.tocsr()
            kernel = (source[rows.users] @ own).toarray()
            unit = float(np.trace(kernel)) / len(kernel)
            for penalty in KERNEL_PENALTIES:
                yield _by_users(rows, _Ridge.of(kernel, np.float32(penalty * unit), source, own))

    with one_thread():
        return _chosen(data, fits())


@dataclass(frozen=True)
class _Ridge:
    """How much each bridge user counts for others: (K + λ I)⁻¹ k, from the factorized left side."""

    factor: tuple[Floats, bool]
    source: sp.csr_matrix
    own: sp.csr_matrix

    @classmethod
    def of(cls, kernel: Floats, penalty: np.float32, source: sp.csr_matrix, own: sp.csr_matrix) -> "_Ridge":
        ridge = kernel + penalty * np.eye(len(kernel), dtype=np.float32)
        return cls(scipy.linalg.cho_factor(ridge, lower=True, overwrite_a=True, check_finite=False), source, own)

    def __call__(self, users: Index) -> Floats:
        similar = (self.source[users] @ self.own).toarray()
        weights: Floats = scipy.linalg.cho_solve(self.factor, similar.T, check_finite=False).T
        return weights


def _knn(data: PairData, rows: _Rows) -> Rank:
    own = rows.source[rows.users].T.tocsr()
    taken_source = np.asarray(own.sum(1)).ravel()
    taken_target = np.asarray(rows.target.sum(0)).ravel()
    source = rows.source @ sp.diags(_power(taken_source, -0.5))

    def similar(users: Index) -> Floats:
        weights: Floats = (source[users] @ own).toarray()
        return weights

    def fits() -> Iterator[Rank]:
        for exponent in NEIGHBOUR_EXPONENTS:
            scaled = rows.target @ sp.diags(_power(taken_target, -exponent))
            yield _by_users(replace(rows, target=scaled), similar)

    return _chosen(data, fits())


def _by_users(rows: _Rows, similar: Callable[[Index], Floats]) -> Rank:
    """Score by bridge users: (R, M) how much each counts for a user, times what they took."""
    target = rows.target.T.tocsr()

    def blocks(users: Index) -> Iterator[Floats]:
        size = max(1, BLOCK // target.shape[0])
        for start in range(0, len(users), size):
            with one_thread():
                yield (target @ similar(users[start : start + size]).T).T

    def rank(users: Index, relevant: Ratings) -> Rankings:
        return measure(best_of_rows(blocks(users)), users, relevant)

    return rank


def _chosen(data: PairData, fits: Iterator[Rank]) -> Rank:
    """The fit that ranks best for validation users; no more than two are held at a time, for they are large."""
    users = np.unique(data.target_validation.users)
    users = users[:: -(-len(users) // CHOOSING_USERS)]
    taken = data.target_validation.of_users(users, data.user_count)
    return max(fits, key=lambda rank: rank(users, taken).means()["ndcg_at_10"])


def _weighted(matrix: sp.csr_matrix, exponent: float) -> sp.csr_matrix:
    return (matrix @ sp.diags(_power(np.asarray(matrix.sum(0)).ravel(), -exponent))).tocsr()


def _cosines(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Rows of length 1."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    return (sp.diags(_power(lengths, -1)) @ matrix).tocsr().astype(np.float32)


def _power(values: NDArray[np.floating], exponent: float) -> Floats:
    """Powers, of zero zero."""
    powers = np.zeros(len(values), np.float32)
    np.power(values, exponent, out=powers, where=values > 0, casting="unsafe")
    return powers
