"""One implicit factorization of both domains: users × (source items, target items), cold users solved from the source.

A common first attempt. Compared with a bridge, it knows more of items that few bridge users took: it learns from
everybody. A cold user's embedding is solved from its source items alone; target items do not count as not taken, since
that is not known yet.

The factors are kept in coordinates in which that solution has no constant part: with A = α Σ_source q qᵀ + λ I = L Lᵀ
and z = L⁻¹ q, it is (I + Σ_taken z zᵀ)⁻¹ Σ_taken z, and products of factors stay the same.

Shapes: R users, N ratings, M ratings that are left out, S source items, T target items, D embedding size.
Source: Hu, Koren and Volinsky (ICDM 2008), in the form of Rendle et al. (RecSys 2022).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.linalg

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.rankings import rank_by_vectors
from ptupcdr_core.kernels.csr import compress, numbered
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.kernels.whitened import Whitening
from ptupcdr_core.training.als import Entries, Plan, als, fold_in_whitened, whitened
from ptupcdr_core.training.folding import Places, taken_without

GRID = ((0.1, 5.0), (0.03, 5.0), (0.3, 5.0), (0.1, 1.0), (0.1, 20.0))
"""Pairs of α and λ that are tried; the first is that of each domain's own factors."""
SMALL = 64
"""Embedding size in these trials."""
GRID_EVENTS = 200_000
"""Events on which they are tried, at most."""
GRID_ITERATIONS = 4
"""Iterations of such a trial: enough to tell the pairs apart, for a fraction of the whole cost."""
ITERATIONS = 8
SIZES = ((500_000, (SMALL, 256)), (np.inf, (128,)))
"""By the greatest number of events, sizes D that are tried on all of them: more is better with few events, and costs
too much with many."""
MOST_EVENTS = 1_000_000
"""Of people of one domain alone, only every n-th is kept, so that about so many events remain."""
CHOOSING_USERS = 300
"""At most so many validation users are ranked to choose."""


@dataclass(frozen=True)
class JointChoice:
    """How joint factors are trained.

    Args:
        unobserved_weight: α.
        regularization: λ.
        size: D.
    """

    unobserved_weight: float
    regularization: float
    size: int

    def told(self) -> dict[str, float]:
        """Its numbers by name, for checkpoints and metrics."""
        return {f"joint_{name}": float(value) for name, value in asdict(self).items()}

    @classmethod
    def of(cls, told: Mapping[str, float]) -> Self:
        """The choice that ``told()`` described."""
        return cls(told["joint_unobserved_weight"], told["joint_regularization"], int(told["joint_size"]))


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

    @cached_property
    def _white_items(self) -> Whitening:
        return whitened(self.source, 1.0)

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, D) float32 embeddings of users 1..R with these source ratings; zero without any."""
        rows = compress(ratings.users, ratings.items, np.ones(len(ratings), np.float32), user_count)
        return fold_in_whitened(rows, self._white_items)

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, D) float32: each place's user as if that rating were not there (see ``training.folding.SourceSpace``)."""
        return taken_without(ratings, self._white_items, user_count, places)


def choose_joint(data: PairData, *, seed: int) -> tuple[JointFactors, JointChoice]:
    """The factors that rank best for validation users, of a small grid: α and λ first, then D.

    Args:
        data: the pair's split; test ratings are not read.
        seed: fixes the initial item vectors.
    """
    users = np.unique(data.target_validation.users)
    users = users[:: -(-len(users) // CHOOSING_USERS)]
    relevant, source = (part.of_users(users, data.user_count) for part in (data.target_validation, data.source))

    def quality(factors: JointFactors) -> float:
        target = TargetItems(factors.target, np.zeros(len(factors.target), np.float32))
        embeddings = factors.fold_in(source, data.user_count)[users]
        return rank_by_vectors(target, embeddings, users, relevant).means()["ndcg_at_10"]

    events = len(data.source) + len(data.target_train)
    tried = [JointChoice(weight, penalty, SMALL) for weight, penalty in GRID]
    few = {"seed": seed, "iterations": GRID_ITERATIONS, "most_events": GRID_EVENTS}
    best = max(tried, key=lambda choice: quality(train_joint(data, choice, **few)))
    sizes = next(sizes for most, sizes in SIZES if events <= most)
    found = [(train_joint(data, choice, seed=seed), choice) for choice in (replace(best, size=d) for d in sizes)]
    return max(found, key=lambda one: quality(one[0]))


def train_joint(
    data: PairData, choice: JointChoice, *, seed: int, iterations: int = ITERATIONS, most_events: int = MOST_EVENTS
) -> JointFactors:
    """Factorize who took what in either domain, the target items of test and validation users left out.

    Args:
        data: the pair's split.
        choice: α, λ and D.
        seed: fixes the initial item vectors.
        iterations: each solves all users, then all items.
        most_events: of people of one domain alone, only every n-th is kept, so that about so many events remain.
    """
    events = _thinned(data, most_events)
    sources, targets = data.source_item_count, data.target_item_count
    ones, ridge = np.ones(len(events), np.float32), Ridge(choice.regularization, False, choice.unobserved_weight)
    # Only of those who are there: where events are left out, most people and many items have none.
    (people, users), (present, own) = numbered(events.users), numbered(events.items)
    entries = Entries(users, own, ones, len(people), len(present))
    items = np.zeros((sources + targets + 1, choice.size), np.float32)
    items[present] = als(entries, Plan(choice.size, ridge, ridge, iterations, seed))[1][1:]
    source, target = items[: sources + 1], np.concatenate([items[:1], items[sources + 1 :]])
    with one_thread():
        wide = source.astype(np.float64)
        system = choice.unobserved_weight * wide.T @ wide + choice.regularization * np.eye(choice.size)
        root = scipy.linalg.cholesky(system, lower=True, check_finite=False)
        white = scipy.linalg.solve_triangular(root, np.eye(choice.size), lower=True).T.astype(np.float32)
        return JointFactors(source @ white, target @ white)


def _thinned(data: PairData, most_events: int) -> Ratings:
    """The events of both domains, fewer of one domain's people; target items are numbered after the source's."""
    users = np.concatenate([data.source.users, data.target_train.users])
    items = np.concatenate([data.source.items, data.target_train.items + np.int32(data.source_item_count)])
    shared = np.zeros(data.user_count + 1, bool)
    shared[data.cohorts["bridge"]] = True
    kept = shared[users]
    others = len(users) - kept.sum()
    step = max(1, -(-others // max(1, most_events - kept.sum())))
    kept |= users % step == 0
    return Ratings(users[kept], items[kept], np.ones(kept.sum(), np.float32))
