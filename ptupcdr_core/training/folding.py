"""Folding people into a source space that was trained without them, in closed form.

Calibrated: offset, spread and counts as in training; the factors are the ridge solution for the fixed item vectors,
which is what a step of alternating least squares would give them. Published and honest: the reference's user
embeddings have no closed form, they start from N(0, 1) and take gradient steps. Here a user is the ridge solution with
penalty 1, the posterior mean under that very N(0, 1) and noise of one star; a DNN's linear layer is then applied.

Shapes: R users, N ratings, M ratings that are left out, S source items, D embedding size, X coordinates of a source
vector.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.calibrated import REGULARIZATION, CalibratedModel
from ptupcdr_core.pair_data import Floats, Index, Ratings
from ptupcdr_core.training.als import fold_in, unobserved
from ptupcdr_core.training.als_kernels import Workspace, padded, solve, substitute, workspace
from ptupcdr_core.training.csr import compress
from ptupcdr_core.training.simd import loop
from ptupcdr_core.training.task import Model, SourceCoordinates, history_vectors
from ptupcdr_core.training.variance_components import shrunk_means, shrunk_means_without_own

Places = NDArray[np.int64]

PRIOR_PENALTY = 1.0
"""Of a published embedding: the variance of a rating around it, 1 star², over that of N(0, 1)."""


class SourceSpace(Protocol):
    """Where source users live, and how people find their place in it by their ratings."""

    @property
    def history_vectors(self) -> Floats:
        """(S+1, D) what the meta network reads of an item."""

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, X) float32 source vectors of users 1..R with these ratings."""

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, X) float32: for each place among the ratings, its user's source vector as if that rating were not there.

        Args:
            ratings: ordered by user.
            user_count: R.
            places: (M,), those of a user together.
        """


def source_space(source: Model) -> SourceSpace:
    """The space of a trained source model, of either setting."""
    return CalibratedSpace(source) if isinstance(source, CalibratedModel) else ReferenceSpace(source)


@dataclass(frozen=True)
class CalibratedSpace:
    """The calibrated source model's space."""

    model: CalibratedModel

    @cached_property
    def history_vectors(self) -> Floats:
        """(S+1, D)."""
        return history_vectors(self.model)

    @cached_property
    def coordinates(self) -> SourceCoordinates:
        """As training laid out its users."""
        return SourceCoordinates.of(self.model)

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, D+7), see ``SourceSpace``."""
        beyond = self._beyond_items(ratings)
        offset = shrunk_means(ratings.users, beyond, user_count, self.model.offset_damping)
        residuals = beyond - offset[ratings.users]
        rows = compress(ratings.users, ratings.items, residuals, user_count)
        deviations = np.abs(residuals) - self.model.mean_deviation
        people = replace(
            self.model,
            user_offset=offset,
            user_spread=shrunk_means(ratings.users, deviations, user_count, self.model.spread_damping),
            rated_counts=shrunk_means(
                ratings.users, self.model.popularity[ratings.items], user_count, self.model.rated_damping
            ),
            user_embedding=fold_in(rows, self.model.item_embedding, regularization=REGULARIZATION, weighted=False),
            user_counts=np.bincount(ratings.users, minlength=user_count + 1).astype(np.float32),
        )
        return self.coordinates(people)

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, D+7), see ``SourceSpace``."""
        left = solve_without(
            ratings,
            self._beyond_items(ratings),
            self.model.item_embedding,
            user_count,
            places,
            REGULARIZATION,
            self.model.offset_damping,
        )
        deviations = left.deviations - left.counts * self.model.mean_deviation
        people = replace(
            self.model,
            user_offset=left.offsets,
            user_spread=(deviations / (left.counts + self.model.spread_damping)).astype(np.float32),
            rated_counts=shrunk_means_without_own(
                ratings.users, self.model.popularity[ratings.items], user_count, self.model.rated_damping
            )[places],
            user_embedding=left.embeddings,
            user_counts=left.counts,
        )
        return self.coordinates(people)

    def _beyond_items(self, ratings: Ratings) -> Floats:
        """(N,) what mean and item biases leave of each rating."""
        return np.asarray(ratings.stars - self.model.mean - self.model.item_bias[ratings.items], dtype=np.float32)


@dataclass(frozen=True)
class ReferenceSpace:
    """A published base model's space: X = D."""

    model: BaseModel

    @cached_property
    def history_vectors(self) -> Floats:
        """(S+1, D)."""
        return history_vectors(self.model)

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, D), see ``SourceSpace``."""
        rows = compress(ratings.users, ratings.items, self._beyond_layer(ratings), user_count)
        return self._user_vectors(fold_in(rows, self._read_by_users, regularization=PRIOR_PENALTY, weighted=False))

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, D), see ``SourceSpace``."""
        left = solve_without(
            ratings, self._beyond_layer(ratings), self._read_by_users, user_count, places, PRIOR_PENALTY, np.inf
        )
        return self._user_vectors(np.concatenate([np.zeros_like(left.embeddings[:1]), left.embeddings]))[1:]

    @cached_property
    def _read_by_users(self) -> Floats:
        """(S+1, D) item vectors v' such that a score is u · v' and, for a DNN, what its layer's bias adds."""
        items = self.model.item_vectors()
        if self.model.weight is None or self.model.bias is None:
            return items
        return np.asarray(items @ self.model.weight, dtype=np.float32)

    def _beyond_layer(self, ratings: Ratings) -> Floats:
        if self.model.bias is None:
            return ratings.stars
        return np.asarray(ratings.stars - (self.model.item_vectors() @ self.model.bias)[ratings.items], np.float32)

    def _user_vectors(self, embeddings: Floats) -> Floats:
        return replace(self.model, user_embedding=embeddings).user_vectors()


@dataclass(frozen=True)
class LeftOut:
    """Of each rating's user without it: (M, D) embeddings; (M,) offsets, sums of |residual|, numbers of ratings."""

    embeddings: Floats
    offsets: Floats
    deviations: Floats
    counts: Floats


def solve_without(
    ratings: Ratings,
    values: Floats,
    vectors: Floats,
    user_count: int,
    places: Places,
    regularization: float,
    damping: float,
    unobserved_weight: float = 0.0,
) -> LeftOut:
    """Solve users again without one rating each, from one factorization a user (Sherman-Morrison).

    Without rating j the offset is o = Σ values / (n - 1 + damping) over the others, and the embedding
    (A - q_j q_jᵀ)⁻¹ Σ_{k≠j} (values_k - o) q_k with A = Σ q qᵀ + λ I + α Σ_all q qᵀ.

    Raises:
        ValueError: the ratings are not ordered by user.
    """
    if (np.diff(ratings.users) < 0).any():
        raise ValueError("ratings must be ordered by user")
    rows = compress(ratings.users, ratings.items, values, user_count)
    users = ratings.users[places]
    embeddings = np.empty((len(places), vectors.shape[1]), np.float32)
    sums = np.empty((2, len(places)), np.float32)
    aligned = padded(vectors)
    base = unobserved(aligned, unobserved_weight)
    _solve_each(
        places, users, *rows[:3], aligned, base, regularization, damping, embeddings, sums, workspace(aligned.shape[1])
    )
    counts = (np.diff(rows.offsets)[users] - 1).astype(np.float32)
    return LeftOut(embeddings, sums[0], sums[1], counts)


@loop()
def _solve_each(
    places: Places,
    users: Index,
    offsets: Places,
    columns: Index,
    values: Floats,
    vectors: Floats,
    base: NDArray[np.float64],
    regularization: float,
    damping: float,
    embeddings: Floats,
    sums: Floats,
    work: Workspace,
) -> None:
    size, width = embeddings.shape[1], vectors.shape[1]
    system, sides = work.system, work.sides  # of all the items, and of the one left out
    total, solved = 0.0, -1
    for m in range(len(places)):
        user, place = users[m], places[m]
        begin, end = offsets[user], offsets[user + 1]
        if user != solved:
            total = 0.0
            for i in range(width):
                sides[0, i] = 0
            for k in range(begin, end):
                total += values[k]
                for i in range(size):
                    sides[0, i] += vectors[columns[k], i]
            solve(begin, end, columns, values, vectors, base, size, regularization, work)
            substitute(system, size, sides, 0)
            solved = user
        offset = (total - values[place]) / (end - begin - 1 + damping)
        for i in range(width):
            sides[1, i] = vectors[columns[place], i]
        substitute(system, size, sides, 1)
        predicted, leverage = 0.0, 0.0
        for i in range(size):
            without = system[width, i] - offset * sides[0, i] - (values[place] - offset) * sides[1, i]
            embeddings[m, i] = without
            predicted += vectors[columns[place], i] * without
            leverage += vectors[columns[place], i] * sides[1, i]
        for i in range(size):
            embeddings[m, i] += predicted / (1 - leverage) * sides[1, i]
        deviation = -abs(values[place] - offset)
        for k in range(begin, end):
            deviation += abs(values[k] - offset)
        sums[0, m], sums[1, m] = offset, deviation
