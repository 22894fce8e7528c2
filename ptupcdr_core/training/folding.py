"""Folding people into a source space that was trained without them, in closed form.

Calibrated: offset, spread and counts as in training; the factors are the ridge solution for the fixed item vectors,
which is what a step of alternating least squares would give them. Published and honest: the reference's user embeddings
have no closed form; they start from N(0, 1) and take gradient steps. Here a user is the ridge solution with penalty 1,
the posterior mean under the same N(0, 1) and noise of one star; a DNN's linear layer is then applied.

Shapes: R users, N ratings, M ratings that are left out, S source items, D embedding size, X coordinates of a source
vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.csr import Csr, compress
from ptupcdr_core.kernels.least_squares import Problem, Ridge, Workspace, padded, problem, solve, substitute, workspace
from ptupcdr_core.kernels.vectors import loop
from ptupcdr_core.kernels.whitened import Whitening, left_out
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.store.artifacts import Tensors
from ptupcdr_core.training.als import fold_in
from ptupcdr_core.training.calibrated_model import REGULARIZATION, SPREAD, CalibratedModel, SourceCoordinates
from ptupcdr_core.training.variance_components import shrunk_means, shrunk_means_without_own

Places = NDArray[np.int64]

USER_TABLES = (
    *("user_embedding", "user_offset", "user_spread", "rated_counts", "user_tops", "user_agreement", "user_counts"),
)
"""Tables of a base model with a row a user."""
PRIOR_PENALTY = 1.0
"""Penalty of a reference embedding: the variance of a rating around its score, 1 star², over that of N(0, 1)."""


class SourceSpace(Protocol):
    """The space of source vectors, and how people are folded into it by their ratings."""

    kind: ClassVar[str]

    def tensors(self) -> Tensors:
        """All that folding in needs, by name; without users' vectors."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Self:
        """Make the space that ``tensors()`` described."""

    @property
    def history_vectors(self) -> Floats:
        """(S+1, D) item vectors as the meta network reads them."""

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, X) float32 source vectors of users 1..R with these ratings."""

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, X) float32: for each place among the ratings, its user's source vector as if that rating were not there.

        Args:
            ratings: ordered by user.
            user_count: R.
            places: (M,), those of a user together.
        """


@dataclass(frozen=True)
class CalibratedSpace:
    """The calibrated source model's space.

    Args:
        model: the source model; only its items are used.
        coordinates: the coordinates of the model's users in training.
    """

    kind: ClassVar[str] = "calibrated"
    model: CalibratedModel
    coordinates: SourceCoordinates

    def tensors(self) -> Tensors:
        """See ``SourceSpace``."""
        coordinates = {"mean_known": np.array(self.coordinates.mean_known), "scale": self.coordinates.scale}
        return without_users(self.model.tensors()) | coordinates

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Self:
        """See ``SourceSpace``."""
        model = {name: tensor for name, tensor in tensors.items() if name not in ("mean_known", "scale")}
        coordinates = SourceCoordinates(float(tensors["mean_known"]), tensors["scale"])
        return cls(CalibratedModel.from_tensors(model), coordinates)

    @cached_property
    def history_vectors(self) -> Floats:
        """(S+1, D)."""
        return self.model.history_vectors()

    def fold_in(self, ratings: Ratings, user_count: int) -> Floats:
        """(R+1, D+9), see ``SourceSpace``."""

        def shrunk(table: str, values: Floats | NDArray[np.float64]) -> Floats:
            return shrunk_means(ratings.users, values, user_count, self.model.damping(table))

        beyond = self._beyond_items(ratings)
        offset = shrunk("user_offset", beyond)
        residuals = beyond - offset[ratings.users]
        rows = compress(ratings.users, ratings.items, residuals, user_count)
        deviations = np.abs(residuals) - self.model.mean_deviation
        people = replace(
            self.model,
            user_offset=offset,
            user_spread=shrunk("user_spread", deviations),
            rated_counts=shrunk("rated_counts", self.model.popularity[ratings.items]),
            user_tops=shrunk("user_tops", self.model.tops(ratings)),
            user_agreement=shrunk("user_agreement", self.model.item_bias[ratings.items] * residuals),
            user_embedding=fold_in(rows, self.model.item_embedding, regularization=REGULARIZATION, weighted=False),
            user_counts=np.bincount(ratings.users, minlength=user_count + 1).astype(np.float32),
        )
        return self.coordinates(people)

    def spread(self, vectors: Floats) -> Floats:
        """(R,) how much further from expected values the ratings of people with these (R, D+9) vectors lie than
        others', in stars."""
        place = self.model.item_embedding.shape[1] + SPREAD
        return np.asarray(vectors[:, place] * self.coordinates.scale[place], np.float32)

    def leave_out(self, ratings: Ratings, user_count: int, places: Places) -> Floats:
        """(M, D+9), see ``SourceSpace``."""

        def shrunk(table: str, values: Floats | NDArray[np.float64]) -> Floats:
            return shrunk_means_without_own(ratings.users, values, user_count, self.model.damping(table))[places]

        beyond = self._beyond_items(ratings)
        left = solve_without(
            ratings,
            beyond,
            self.model.item_embedding,
            user_count,
            places,
            REGULARIZATION,
            self.model.damping("user_offset"),
        )
        deviations = left.deviations - left.counts * self.model.mean_deviation
        people = replace(
            self.model,
            user_offset=left.offsets,
            user_spread=(deviations / (left.counts + self.model.damping("user_spread"))).astype(np.float32),
            rated_counts=shrunk("rated_counts", self.model.popularity[ratings.items]),
            user_tops=shrunk("user_tops", self.model.tops(ratings)),
            user_agreement=self._agreement_without(ratings, beyond, user_count, places, left),
            user_embedding=left.embeddings,
            user_counts=left.counts,
        )
        return self.coordinates(people)

    def _agreement_without(
        self, ratings: Ratings, beyond: Floats, user_count: int, places: Places, left: "LeftOut"
    ) -> Floats:
        """(M,) agreements, each without one rating: with it goes the offset that all residuals are taken beyond."""
        biases, users = self.model.item_bias[ratings.items].astype(np.float64), ratings.users
        products = biases * beyond
        summed, total = (np.bincount(users, values, user_count + 1)[users] - values for values in (products, biases))
        agreed = summed[places] - left.offsets * total[places]
        return np.asarray(agreed / (left.counts + self.model.damping("user_agreement")), np.float32)

    def _beyond_items(self, ratings: Ratings) -> Floats:
        """(N,) each rating less mean and item bias."""
        return np.asarray(ratings.stars - self.model.mean - self.model.item_bias[ratings.items], dtype=np.float32)


@dataclass(frozen=True)
class ReferenceSpace:
    """The space of a base model of the reference's recipes: X = D."""

    kind: ClassVar[str] = "reference"
    model: BaseModel

    def tensors(self) -> Tensors:
        """See ``SourceSpace``."""
        return without_users(self.model.tensors()) | {"base_model": np.frombuffer(self.model.kind.encode(), np.uint8)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Self:
        """See ``SourceSpace``."""
        model = {name: tensor for name, tensor in tensors.items() if name != "base_model"}
        kind: Any = bytes(tensors["base_model"]).decode()
        return cls(BaseModel.from_tensors(kind, model))

    @cached_property
    def history_vectors(self) -> Floats:
        """(S+1, D)."""
        return self.model.history_vectors()

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
        """(S+1, D) item vectors v' such that a score is u · v', plus, for a DNN, its layer's bias."""
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


def without_users(tensors: Tensors) -> Tensors:
    """A model's tensors, with only the padding's row of users' tensors."""
    return {name: tensor[:1] if name in USER_TABLES else tensor for name, tensor in tensors.items()}


class LeftOut(NamedTuple):
    """Users, each without one rating: (M, D) embeddings; (M,) offsets, sums of |residual|, numbers of ratings."""

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
) -> LeftOut:
    """Solve users again without one rating each, from one factorization a user (Sherman-Morrison).

    Without rating j the offset is o = Σ values / (n - 1 + damping) over the others, and the embedding
    (A - q_j q_jᵀ)⁻¹ Σ_{k≠j} (values_k - o) q_k with A = Σ q qᵀ + λ I.

    Raises:
        ValueError: the ratings are not ordered by user.
    """
    rows = _by_user(ratings, values, user_count)
    users = ratings.users[places]
    offsets, deviations = np.empty((2, len(places)), np.float32)
    counts = (np.diff(rows.offsets)[users] - 1).astype(np.float32)
    left = LeftOut(np.empty((len(places), vectors.shape[1]), np.float32), offsets, deviations, counts)
    side = problem(rows, padded(vectors), vectors.shape[1], Ridge(regularization, False))
    _solve_each(places, users, side, damping, left, workspace(side.vectors.shape[1]))
    return left


def taken_without(ratings: Ratings, white: Whitening, user_count: int, places: Places) -> Floats:
    """(M, D) float32 embeddings by what users took, whatever they thought of it: each as if one rating were not there.

    Raises:
        ValueError: the ratings are not ordered by user.
    """
    rows = _by_user(ratings, np.ones(len(ratings), np.float32), user_count)
    return left_out(white, rows, ratings.users[places], places)


def _by_user(ratings: Ratings, values: Floats, user_count: int) -> Csr:
    """Values of ratings that are ordered by user, so that their places stay the same."""
    if (np.diff(ratings.users) < 0).any():
        raise ValueError("ratings must be ordered by user")
    return compress(ratings.users, ratings.items, values, user_count)


@loop()
def _solve_each(places: Places, users: Index, side: Problem, damping: float, left: LeftOut, work: Workspace) -> None:
    """Fill embeddings, offsets and deviations of ``left``; users are factorized once, where their places begin."""
    size, width, vectors = side.size, side.vectors.shape[1], side.vectors
    offsets, columns, values = side.rows.offsets, side.rows.columns, side.rows.values
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
            solve(begin, end, side, side.regularization, work)
            substitute(system, size, sides, 0)
            solved = user
        offset = (total - values[place]) / (end - begin - 1 + damping)
        for i in range(width):
            sides[1, i] = vectors[columns[place], i]
        substitute(system, size, sides, 1)
        predicted, leverage = 0.0, 0.0
        for i in range(size):
            without = system[width, i] - offset * sides[0, i] - (values[place] - offset) * sides[1, i]
            left.embeddings[m, i] = without
            predicted += vectors[columns[place], i] * without
            leverage += vectors[columns[place], i] * sides[1, i]
        for i in range(size):
            left.embeddings[m, i] += predicted / (1 - leverage) * sides[1, i]
        deviation = -abs(values[place] - offset)
        for k in range(begin, end):
            deviation += abs(values[k] - offset)
        left.offsets[m], left.deviations[m] = offset, deviation
