"""Bridges for ranking, trained on the items that bridge users took in the target domain.

EMCDR's is mapping-oriented, Σ |u^s W - u^t|². The others are task-oriented, as the paper's are for ratings: with
û = u W they minimize the loss that the target's own factors minimize,

    Σ_u w_u [ Σ_{j taken by u} (1 - û · v_j)² + α Σ_{all j} (û · v_j)² ] + λ |W|²,   w_u ∝ 1 / √(items taken by u),

which reads only target items, not the target *user* factors, which are poor for users who took little. It is quadratic
in W, and conjugate gradients find its minimum without ever forming the (X·Y)² matrix. The personal bridge is the common
one plus a matrix that is linear in the user's mean history vector and acts on the leading directions of the source
vectors. It is fitted to the residual of the common one, and written into the paper's meta network (as
``training.closed_form`` does for ratings).

Shapes: R bridge users, N pairs of bridge user and item, X by Y the bridge, K gate features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.rankings import Rankings, rank_by_vectors
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge, SourceSide
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.store.artifacts import Tensors
from ptupcdr_core.training.bridging import network_from_tensors, network_tensors
from ptupcdr_core.training.closed_form import Gate, gate_of, mean_histories, write_network
from ptupcdr_core.training.evidence import earns_its_place, judged_by_others
from ptupcdr_core.training.implicit import ImplicitFactors
from ptupcdr_core.training.taken_loss import TakenLoss

Key = TypeVar("Key", float, tuple[float, float], tuple[int, float])
AnyBridge = TypeVar("AnyBridge", CommonBridge, PersonalBridge)

FREE = 1e-3
"""A negligible penalty."""
COMMON_PENALTIES = ((1.0, 1.0), (3.0, 3.0), (10.0, 10.0), (10.0, FREE), (30.0, FREE))
"""λ of all entries but the constant's, and the constant's, in units of α · R · the mean square of a factor. With many
bridge users, a low penalty on everything is best; with few, a high one on all but the constant, which gives everybody
the average list. Picked on validation users of three pairs at β 0.2, 0.5 and 0.8."""
PERSONAL_PENALTIES = (10.0, 30.0)
"""λ of the personal bridge that are tried, in the same unit."""
MAPPING_PENALTIES = (0.01, 0.1, 1.0)
"""EMCDR's λ, in units of the mean diagonal entry of its Gram matrix."""
ALIKE = 1e-6
"""Mean square of users' coordinates, usually 1, below which all users count as equal: where all took everything, the
mapping gives the mean user alone."""
GATES = (4, 8)
"""Numbers of gate features that are tried."""
COORDINATES = 16
"""How many leading directions of the bridge users' source vectors a personal bridge acts on."""
EVIDENCE = "ndcg_at_50"
"""The measure that decides whether a personal bridge is used: fifty items say more about a user than ten do."""


@dataclass(frozen=True)
class RankingTask(SourceSide):
    """What ranking bridges are trained on and read.

    Args:
        target: item factors (T+1, Y), without offsets.
        target_user_vectors: (U+1, Y) float32, what EMCDR's mapping is fitted to.
        taken: pairs of bridge user and target item, ordered by user.
        validation: the same pairs of the validation users.
    """

    target: TargetItems
    target_user_vectors: Floats
    taken: Ratings
    validation: Ratings

    @classmethod
    def of(cls, data: PairData, space: RankingSpace, target: ImplicitFactors) -> Self:
        """Collect a pair's data and the vectors of its two sides."""
        return cls(
            source_vectors=space.source_vectors(data.source),
            history_vectors=space.history_vectors,
            histories=data.histories,
            history_stars=data.history_stars,
            target=ranked_items(target),
            target_user_vectors=target.user_embedding,
            taken=data.bridge_ratings,
            validation=data.target_validation,
        )

    def holding_out(self, data: PairData, target: ImplicitFactors) -> Self:
        """The same task in a split with others held out, of the same source ratings, which need not be read again.

        Args:
            data: the split.
            target: trained on it.
        """
        return replace(
            self,
            target=ranked_items(target),
            target_user_vectors=target.user_embedding,
            taken=data.bridge_ratings,
            validation=data.target_validation,
        )


def ranked_items(target: ImplicitFactors) -> TargetItems:
    """The target items' side of the score: factors alone."""
    return TargetItems(target.item_embedding, np.zeros(len(target.item_embedding), np.float32))


@dataclass(frozen=True)
class RankingBridges:
    """The bridges of one pair for ranking, and how they were chosen.

    Args:
        emcdr: EMCDR's mapping.
        personal: the personal bridge, which contains the common one.
        mean: (1, Y) float32, the mean bridge user's embedding, for people of whom nothing is known.
        chosen: penalties, gates, certainty and strength: all that ``refit_ranking_bridges`` has to know.
    """

    emcdr: CommonBridge
    personal: PersonalBridge
    mean: Floats
    chosen: dict[str, float]

    @property
    def common(self) -> CommonBridge:
        """The common task-oriented bridge, which the personal one corrects."""
        return CommonBridge(self.personal.common)

    def tensors(self) -> Tensors:
        """Return all weights by name, as a checkpoint stores them."""
        return {
            "emcdr": self.emcdr.matrix,
            "common": self.personal.common,
            "strength": np.array([self.personal.strength], np.float32),
            "mean": self.mean,
            **network_tensors(self.personal.network),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], chosen: dict[str, float]) -> Self:
        """Make the bridges that ``tensors()`` described."""
        common = tensors["common"]
        network = network_from_tensors(tensors, common.shape)
        personal = PersonalBridge(network, common, float(tensors["strength"][0]), common)
        return cls(CommonBridge(tensors["emcdr"]), personal, tensors["mean"], chosen)


def train_ranking_bridges(task: RankingTask, *, hidden_size: int, seed: int) -> RankingBridges:
    """Fit all bridges, each with the penalty under which validation users are ranked best (NDCG@10).

    Args:
        task: the frozen vectors and pairs.
        hidden_size: H of the meta network.
        seed: of the meta network's unused weights.
    """
    with one_thread():
        return _train(_Fits(task, hidden_size, seed))


def refit_ranking_bridges(
    task: RankingTask, chosen: dict[str, float], *, hidden_size: int, seed: int
) -> RankingBridges:
    """Fit all bridges once more with nothing left to choose: no validation user is looked at.

    Args:
        task: the frozen vectors and pairs, of more users than before.
        chosen: what was chosen in the first training.
        hidden_size: H of the meta network.
        seed: of the meta network's unused weights.
    """
    with one_thread():
        fits = _Fits(task, hidden_size, seed)
        common = fits.common((chosen["ranking_common_penalty"], chosen["ranking_constant_penalty"]))
        gates = int(chosen["ranking_personal_gates"])
        personal = (
            fits.personal(common, gates, chosen["ranking_personal_penalty"]) if gates else fits.uncorrected(common)
        )
        return RankingBridges(fits.emcdr(chosen["ranking_emcdr_penalty"]), personal, fits.mean(common), chosen)


def without_personal(bridges: RankingBridges, *, seed: int) -> RankingBridges:
    """The same bridges without a personal correction; ``refit_ranking_bridges`` then makes none either.

    Args:
        bridges: trained ones.
        seed: of the meta network's unused weights.
    """
    none = {"ranking_personal_penalty": np.inf, "ranking_personal_gates": 0.0, "ranking_personal_strength": 0.0}
    hidden_size, size = bridges.personal.network.decoder_hidden.weight.shape
    personal = _uncorrected(bridges.common, size, hidden_size, seed)
    return replace(bridges, personal=personal, chosen=bridges.chosen | none)


def _train(fits: "_Fits") -> RankingBridges:
    task = fits.task
    emcdr, emcdr_penalty, _ = _best(task, {penalty: fits.emcdr(penalty) for penalty in MAPPING_PENALTIES})
    common, (common_penalty, constant_penalty), reached = _best(
        task, {penalties: fits.common(penalties) for penalties in COMMON_PENALTIES}
    )
    choices = [(gates, penalty) for gates in fits.gate_counts for penalty in PERSONAL_PENALTIES]
    personal = {choice: fits.personal(common, *choice) for choice in choices}
    found = _rankings(task, personal)
    at, judged = judged_by_others(np.stack([1 - found[choice].values[EVIDENCE] for choice in choices]))
    evidence = earns_its_place(1 - reached.values[EVIDENCE], judged)
    (gates, personal_penalty), best = choices[at], personal[choices[at]]
    if not evidence.earned:
        best, gates, personal_penalty = fits.uncorrected(common), 0, np.inf
    chosen = {
        "ranking_emcdr_penalty": emcdr_penalty,
        "ranking_common_penalty": common_penalty,
        "ranking_constant_penalty": constant_penalty,
        "ranking_personal_penalty": float(personal_penalty),
        "ranking_personal_gates": float(gates),
        "ranking_personal_certainty": evidence.certainty,
        "ranking_personal_strength": best.strength,
    }
    return RankingBridges(emcdr, best, fits.mean(common), chosen)


@dataclass(frozen=True)
class _Fits:
    """The fits to a task's bridge users, one for each choice."""

    task: RankingTask
    hidden_size: int
    seed: int

    def emcdr(self, penalty: float) -> CommonBridge:
        return CommonBridge(_mapping(self.task, self._users, penalty))

    def common(self, penalties: tuple[float, float]) -> CommonBridge:
        """Fit with the penalties of all entries but the constant's, and of the constant's, the last coordinate."""
        of_others, of_constant = penalties
        ridge = np.full((self._vectors.shape[1], 1), of_others, np.float32)
        ridge[-1] = of_constant
        nothing = np.zeros((len(self._users), self.task.target.vectors.shape[1]), np.float32)
        return CommonBridge(self._loss.fit(self._vectors, nothing, ridge))

    def personal(self, common: CommonBridge, gates: int, penalty: float) -> PersonalBridge:
        """Fit with a number of gate features, one of ``gate_counts``, and a penalty."""
        gate, z = self._gate
        features = (z[:, :gates, None] * (self._vectors @ self._leading)[:, None, :]).reshape(len(z), -1)
        matrices = self._loss.fit(features, self._vectors @ common.matrix, penalty)
        bridge = self.uncorrected(common)
        turned = matrices.reshape(gates, -1, common.matrix.shape[1])
        write_network(bridge.network, gate.leading(gates), self._leading @ turned)
        return replace(bridge, strength=1.0)

    def uncorrected(self, common: CommonBridge) -> PersonalBridge:
        """One that corrects nothing."""
        return _uncorrected(common, self.task.history_vectors.shape[1], self.hidden_size, self.seed)

    def mean(self, common: CommonBridge) -> Floats:
        """(1, Y) float32."""
        bridged = self._vectors @ common.matrix
        return np.asarray(bridged.mean(0, keepdims=True, dtype=np.float64), np.float32)

    @property
    def gate_counts(self) -> list[int]:
        most: int = self._gate[1].shape[1]
        return sorted({min(count, most) for count in GATES})

    @cached_property
    def _users(self) -> Index:
        return np.unique(self.task.taken.users)

    @cached_property
    def _vectors(self) -> Floats:
        """(R, X)."""
        return self.task.source_vectors[self._users]

    @cached_property
    def _leading(self) -> Floats:
        return _leading(self._vectors)

    @cached_property
    def _loss(self) -> TakenLoss:
        return TakenLoss.of(self.task.taken, self.task.target.vectors, self._users)

    @cached_property
    def _gate(self) -> tuple[Gate, Floats]:
        """The gate, and (R, K) its features of the bridge users; 0 without a history."""
        told = self.task.histories[self._users, 0] > 0
        gate = gate_of(mean_histories(self.task, self._users[told]), min(max(GATES), self.hidden_size // 2))
        return gate, (mean_histories(self.task, self._users) - gate.center) @ gate.directions * told[:, None]


def _uncorrected(common: CommonBridge, size: int, hidden_size: int, seed: int) -> PersonalBridge:
    matrix = common.matrix
    network = MetaNetwork(size, hidden_size, *matrix.shape).start(seed, at_zero=True)
    return PersonalBridge(network, matrix, 0.0, matrix)


def _leading(vectors: Floats) -> Floats:
    """(X, C+1) float32: maps vectors (R, X), whose last coordinate is the constant 1, to their coordinates in the C
    directions in which they differ most, and the constant."""
    varying = vectors[:, :-1].astype(np.float64)
    mean = varying.mean(0)
    varying -= mean
    directions = np.linalg.eigh(varying.T @ varying)[1][:, ::-1][:, :COORDINATES]
    leading = np.zeros((vectors.shape[1], directions.shape[1] + 1), np.float32)
    leading[:-1, :-1] = directions
    leading[-1] = [*(-mean @ directions), 1]
    return leading


def _best(task: RankingTask, candidates: Mapping[Key, AnyBridge]) -> tuple[AnyBridge, Key, Rankings]:
    """The bridge whose lists serve the validation users best, its key, and how well."""
    found = _rankings(task, candidates)
    best = max(found, key=lambda key: found[key].means()["ndcg_at_10"])
    return candidates[best], best, found[best]


def _rankings(task: RankingTask, candidates: Mapping[Key, AnyBridge]) -> dict[Key, Rankings]:
    """How well each bridge's lists serve the validation users."""
    users = np.unique(task.validation.users)
    return {
        key: rank_by_vectors(task.target, bridge.embed(task, users), users, task.validation)
        for key, bridge in candidates.items()
    }


def _mapping(task: RankingTask, users: Index, penalty: float) -> Floats:
    """(X, Y) EMCDR's ridge regression from source factors to target factors; of the other coordinates it reads only the
    constant."""
    read = [*range(task.history_vectors.shape[1]), task.source_vectors.shape[1] - 1]
    source = task.source_vectors[np.ix_(users, read)].astype(np.float64)
    gram = source.T @ source
    spread = np.trace(gram[:-1, :-1]) / (len(read) - 1)
    ridge = np.full(len(read), penalty * max(spread, ALIKE * len(users)))
    ridge[-1] = 0
    matrix = np.zeros((task.source_vectors.shape[1], task.target_user_vectors.shape[1]), np.float32)
    matrix[read] = np.linalg.solve(gram + np.diag(ridge), source.T @ task.target_user_vectors[users])
    return matrix
