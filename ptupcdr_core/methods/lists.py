"""Baselines of ranked lists: popularity, neighbours across the domains, a ridge between rows, a filtered signal.

``popularity``: how many users took an item. ``item_knn``: a target item's score is the sum of its cosines with the
user's source items, over bridge users; all neighbours count, and the target's exponent is chosen on validation users.
``kernel_ridge`` and ``cgsp`` have modules of their own, and ``joint_als`` is where its factors are trained, in
``modes.ranking.joint``. Each is chosen on validation users alone, from a grid of its own.

Shapes: R users, S source items, T target items, M bridge users.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.rankings import Rankings, best_of_rows, measure, rank_by_vectors
from ptupcdr_core.kernels.sparse_product import right_sides, sparse_product
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.training.item_map import taken

NEIGHBOUR_EXPONENTS = (0.5, 0.3, 0.1)
"""Exponents of the target item's number of users; with 0.5, as for the source item's, it is the cosine."""
CHOOSING_USERS = 300
"""At most so many validation users choose between fits."""
BLOCK = 1 << 22
"""Scores held at a time."""

Rank = Callable[[Index, Ratings], Rankings]
"""Measures a method on users (ascending) and the items that they took."""
Scores = Callable[[Index], Floats]
"""Gives users' (R, T+1) float32 scores, in a new array."""


@dataclass(frozen=True)
class Rows:
    """Who took what: (U+1, S+1) in the source, and (M, T+1) bridge users in the target; ``users`` (M,) are their
    indices."""

    source: sp.csr_matrix
    target: sp.csr_matrix
    users: Index

    @classmethod
    def of(cls, data: PairData) -> "Rows":
        """Everybody's rows in the source, and those of a pair's bridge users in the target."""
        users = data.cohorts["bridge"]
        target = taken(data.bridge_ratings, data.user_count, data.target_item_count)[users]
        return cls(taken(data.source, data.user_count, data.source_item_count), target, users)

    def thinned(self, most: int) -> "Rows":
        """At most so many bridge users, evenly chosen."""
        step = -(-len(self.users) // most)
        return Rows(self.source, self.target[::step], self.users[::step])


def popularity(data: PairData) -> Rank:
    """The same list for all: the items that most users took."""
    counts = np.bincount(data.target_train.items, minlength=data.target_item_count + 1).astype(np.float32)
    items = TargetItems(np.zeros((len(counts), 1), np.float32), counts)
    return lambda users, relevant: rank_by_vectors(items, np.zeros((len(users), 1), np.float32), users, relevant)


def item_knn(data: PairData, rows: Rows) -> Rank:
    """Neighbours across the domains."""
    own = rows.source[rows.users].T.tocsr()
    source = rows.source @ sp.diags(powers(per_column(own.T), -0.5))

    def fits() -> Iterator[Scores]:
        for exponent in NEIGHBOUR_EXPONENTS:
            by_item = (rows.target @ sp.diags(powers(per_column(rows.target), -exponent))).T.tocsr()
            yield lambda users, by_item=by_item: sparse_product(by_item, (source[users] @ own).toarray().T).T  # type: ignore[misc]

    return chosen(data, fits())


def chosen(data: PairData, fits: Iterable[Scores]) -> Rank:
    """The fit that ranks best for validation users; no more than two are held at a time, since they are large."""
    users = np.unique(data.target_validation.users)
    users = users[:: -(-len(users) // CHOOSING_USERS)]
    relevant = data.target_validation.of_users(users, data.user_count)
    ranked = (by_scores(scores, data.target_item_count) for scores in fits)
    with one_thread():
        return max(ranked, key=lambda rank: rank(users, relevant).means()["ndcg_at_10"])


def by_scores(scores: Scores, item_count: int) -> Rank:
    """Lists by dense scores, a block of users at a time.

    Args:
        scores: of users.
        item_count: T.
    """
    size = right_sides(BLOCK // (item_count + 1))

    def blocks(users: Index) -> Iterator[Floats]:
        for start in range(0, len(users), size):
            with one_thread():
                yield np.ascontiguousarray(scores(users[start : start + size]), np.float32)

    return lambda users, relevant: measure(best_of_rows(blocks(users)), users, relevant)


def per_column(matrix: sp.csr_matrix) -> Floats:
    """Sums of columns, float32."""
    return np.asarray(matrix.sum(0), np.float32).ravel()


def powers(values: NDArray[np.floating], exponent: float) -> Floats:
    """Powers of values; 0 for the value 0."""
    found = np.zeros(len(values), np.float32)
    np.power(values, exponent, out=found, where=values > 0, casting="unsafe")
    return found
