"""One implicit factorization of both domains: users × (source items, target items), cold users solved from the source.

What many try first. Beside a bridge it knows more of items that few bridge users took, for it learns from everybody.
A cold user's embedding is solved from its source items alone, and without counting target items as not taken: nobody
knows yet whether they are.

The factors are kept in coordinates in which that solution has no constant part: with A = α Σ_source q qᵀ + λ I = L Lᵀ
and z = L⁻¹ q, it is (I + Σ_taken z zᵀ)⁻¹ Σ_taken z, and products are what they were.

Shapes: R users, N ratings, M ratings that are left out, S source items, T target items, D embedding size.
Source: Hu, Koren and Volinsky (ICDM 2008), in the form of Rendle et al. (RecSys 2022).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.training.als import als, fold_in
from ptupcdr_core.training.folding import Places, solve_without

UNOBSERVED_WEIGHT = 0.1
"""α, and"""
REGULARIZATION = 5.0
"""λ: as those of each domain's own factors."""
ITERATIONS = 8
SIZES = ((500_000, 256), (np.inf, 128))
"""D by the number of events: more is better on pairs with few of them, and costs too much with many."""
MOST_EVENTS = 1_000_000
"""Of people of one domain alone, every n-th is left out until there are about so many events."""


@dataclass(frozen=True)
class JointFactors:
    """Factors of the items of both domains.

    Args:
        source: (S+1, D) float32, z of source items.
        target: (T+1, D) float32, z of target items.
    """

    source: Floats
    target: Floats

    def tensors(self) -> dict[str, Floats]:
        """Return them by name, as a checkpoint stores them."""
        return {"joint_source": self.source, "joint_target": self.target}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Self:
        """Make the factors that ``tensors()`` described."""
        return cls(tensors["joint_source"], tensors["joint_target"])

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, D) float32 embeddings of users 1..R with these source ratings; zero without any."""
        rows = compress(ratings.users, ratings.items, np.ones(len(ratings), np.float32), user_count)
        return fold_in(rows, self.source, regularization=1.0, weighted=False)

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, D) float32: each place's user as if that rating were not there (see ``training.folding.SourceSpace``)."""
        ones = np.ones(len(ratings), np.float32)
        return solve_without(ratings, ones, self.source, user_count, places, 1.0, np.inf).embeddings


def train_joint(data: PairData, *, seed: int, size: int | None = None) -> JointFactors:
    """Factorize who took what in either domain, the target items of test and validation users left out.

    Args:
        data: the pair's split.
        seed: fixes the initial item vectors.
        size: D; by the number of events when left out.
    """
    events = _thinned(data)
    size = size or next(size for most, size in SIZES if len(events) <= most)
    sources, targets = data.source_item_count, data.target_item_count
    _, items = als(
        events.users,
        events.items,
        np.ones(len(events), np.float32),
        data.user_count,
        sources + targets,
        size=size,
        user_regularization=REGULARIZATION,
        item_regularization=REGULARIZATION,
        iterations=ITERATIONS,
        seed=seed,
        weighted=False,
        unobserved_weight=UNOBSERVED_WEIGHT,
    )
    source, target = items[: sources + 1], np.concatenate([items[:1], items[sources + 1 :]])
    with one_thread():
        wide = source.astype(np.float64)
        root = scipy.linalg.cholesky(
            UNOBSERVED_WEIGHT * wide.T @ wide + REGULARIZATION * np.eye(size), lower=True, check_finite=False
        )
        white = scipy.linalg.solve_triangular(root, np.eye(size), lower=True).T.astype(np.float32)
        return JointFactors(source @ white, target @ white)


def _thinned(data: PairData) -> Ratings:
    """The events of both domains, target items counted on after the source's."""
    users = np.concatenate([data.source.users, data.target_train.users])
    items = np.concatenate([data.source.items, data.target_train.items + np.int32(data.source_item_count)])
    shared = np.zeros(data.user_count + 1, bool)
    shared[data.cohorts["bridge"]] = True
    kept = shared[users]
    others = len(users) - kept.sum()
    step = max(1, -(-others // max(1, MOST_EVENTS - kept.sum())))
    kept |= users % step == 0
    return Ratings(users[kept], items[kept], np.ones(kept.sum(), np.float32))
