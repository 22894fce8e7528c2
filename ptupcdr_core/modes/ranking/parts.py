"""What ranked lists are made from: the bridge, and beside it whatever else validation users show to be worth its place.

    score = b û·v  +  π popularity  +  γ p·q  +  δ Σ B[source item]

The bridge's û·v, or popularity where that serves better; γ times joint factors of both domains (``ranking.joint``); δ
times a sparse map from source to target items (``training.item_map``). Weights are tried in units in which each part's
scores are spread equally over the items. A part is used only if the one rule of evidence (``evaluation.evidence``) says
so; the weight that a user is judged by was chosen by other users, so that trying several is no evidence by itself.

Shapes: V validation users, R users, N ratings, T target items, Y coordinates of the bridge, D of the joint factors.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.evidence import Evidence, Losses, earns_its_place
from ptupcdr_core.evaluation.rankings import best_of_rows, measure
from ptupcdr_core.kernels.sparse_extra import ExtraScores
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridges import PersonalBridge
from ptupcdr_core.modes.ranking.bridging import RankingTask
from ptupcdr_core.modes.ranking.joint import JointFactors, train_joint
from ptupcdr_core.training.item_map import ItemMap, RowRidge, fit_item_map, taken

EVIDENCE = "ndcg_at_50"
"""What shows whether a part is worth its place: fifty items say more of a user than ten do."""
FOLDS = 5
"""Of validation users: those of one are judged by the weight that is best for the others."""
JOINT_WEIGHTS = (0.25, 0.5, 1.0, 2.0)
"""γ, and"""
MAP_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 16.0)
"""δ in units of equal spread; the last leaves little but the map."""
MAP_PENALTIES = (30.0, 300.0)
"""λ of the map, in items taken; between them it matters little."""
SCORES = 1 << 25
"""Scores of a part held at a time: where there are many target items, every n-th validation user decides."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The parts of a pair's lists, with their weights.

    Args:
        bridge: b, 1 or, where the bridge has not proved better than popularity, 0.
        popularity: (T+1,) float32, π times how many took each item; zeros beside a bridge.
        joint: its target side times γ; None where it has not earned its place.
        item_map: times δ; None where it has not earned its place.
        chosen: the weights and what they were chosen by: all that ``refit_parts`` has to know.
    """

    bridge: float
    popularity: Floats
    joint: JointFactors | None
    item_map: ItemMap | None
    chosen: dict[str, float]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return everything by name, as a checkpoint stores it."""
        own = {"bridge": np.array([self.bridge], np.float32), "popularity": self.popularity}
        joint = {} if self.joint is None else self.joint.tensors()
        return own | joint | ({} if self.item_map is None else self.item_map.tensors())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], chosen: dict[str, float]) -> Self:
        """Make the parts that ``tensors()`` described."""
        joint = JointFactors.from_tensors(tensors) if "joint_target" in tensors else None
        item_map = ItemMap.from_tensors(tensors) if "map_items" in tensors else None
        return cls(float(tensors["bridge"][0]), tensors["popularity"], joint, item_map, chosen)

    def target(self, bridge_items: TargetItems) -> TargetItems:
        """The items' side of all that is a product of vectors: (T+1, Y+D), and popularity for offset."""
        vectors = np.float32(self.bridge) * bridge_items.vectors
        if self.joint is not None:
            vectors = np.hstack([vectors, self.joint.target])
        return TargetItems(vectors, bridge_items.offset + self.popularity)

    def vectors(self, embeddings: Floats, ratings: Ratings) -> Floats:
        """(R, Y+D) the users' side of it.

        Args:
            embeddings: (R, Y) from the bridge, of users 1..R.
            ratings: their source ratings.
        """
        if self.joint is None:
            return embeddings
        return np.hstack([embeddings, self.joint.fold_in(ratings, len(embeddings))[1:]])

    def changes(self, ratings: Ratings, people: NDArray[np.int64], places: NDArray[np.int64]) -> Floats:
        """(M, D) how a user's joint factors change by each of some ratings; D is 0 without joint factors.

        Args:
            ratings: source ratings of users, ordered by user.
            people: (M,) whose rating each place is.
            places: (M,) among the ratings, those of a user together.
        """
        if self.joint is None:
            return np.zeros((len(places), 0), np.float32)
        count = int(ratings.users.max(initial=0))
        return self.joint.fold_in(ratings, count)[people] - self.joint.leave_out(ratings, count, places)

    def among(self, kept: NDArray[np.bool_]) -> Self:
        """The same where there are no other target items than those marked (T+1,), the padding among them."""
        joint = None if self.joint is None else JointFactors(self.joint.source, self.joint.target[kept])
        item_map = None if self.item_map is None else self.item_map.among(kept)
        return replace(self, popularity=self.popularity[kept], joint=joint, item_map=item_map)

    def extra(self, ratings: Ratings, user_count: int) -> ExtraScores | None:
        """What the item map adds to the scores of users 1..R, at places 0..R-1; None where there is no map."""
        if self.item_map is None:
            return None
        item_map = self.item_map
        rows = taken(ratings, user_count, len(item_map.offsets) - 2)[1:]
        return lambda places: item_map.scores(rows[places])


@dataclass(frozen=True)
class Offer:
    """A part with a weight, on trial.

    Args:
        weight: what its scores are multiplied by.
        scores: (V, T+1) float32.
        penalty: λ of the item map.
    """

    weight: float
    scores: Floats
    penalty: float = 0.0


def train_parts(data: PairData, task: RankingTask, bridge: PersonalBridge, joint: JointFactors) -> Parts:
    """Choose on validation users what the lists of a pair are made from.

    Args:
        data: the pair's split; test ratings are not read.
        task: its frozen vectors.
        bridge: trained between them.
        joint: factors of both domains.
    """
    users, rows = judges(data), bridge_rows(data)
    relevant = data.target_validation.of_users(users, data.user_count)
    people = taken(data.source, data.user_count, data.source_item_count)[users]

    def losses(scores: Floats) -> Losses:
        lists = best_of_rows(iter([scores]))
        return np.asarray(1 - measure(lists, users, relevant).values[EVIDENCE])

    with one_thread():
        bridged = bridge.embed(task, users) @ task.target.vectors.T
        popular = np.tile(popularity(data), (len(users), 1))
        lost = {name: losses(scores.copy()).mean() for name, scores in (("bridge", bridged), ("popularity", popular))}
        by_bridge = lost["bridge"] <= lost["popularity"]
        if not by_bridge:
            log.warning(
                "%s: for validation users, popularity makes better lists than the bridge, so it serves", data.pair
            )
        base = bridged if by_bridge else popular
        folded = joint.fold_in(data.source.of_users(users, data.user_count), data.user_count)[users]
        joint_offers = _offers(base, folded @ joint.target.T, JOINT_WEIGHTS)
        map_offers = [
            offer
            for penalty in MAP_PENALTIES
            for offer in _offers(base, RowRidge(rows[0], penalty).scores(people, rows[1]), MAP_WEIGHTS, penalty)
        ]
        found, certainties = forward(losses, base, {"joint": joint_offers, "item_map": map_offers})
        item_map = None
        if "item_map" in found:  # what serves is the sparse map, so that has to prove itself
            item_map = fit_item_map(*rows, found["item_map"].penalty)
            scores = item_map.scores(people).toarray()
            map_offers = _offers(base, scores, MAP_WEIGHTS, found["item_map"].penalty)
            found, certainties = forward(losses, base, {"joint": joint_offers, "item_map": map_offers})
    chosen = {"list_bridge": float(by_bridge)}
    for name in ("joint", "item_map"):
        chosen[f"list_{name}_weight"] = found[name].weight if name in found else 0.0
        chosen[f"list_{name}_certainty"] = certainties[name]
    chosen["list_item_map_penalty"] = found["item_map"].penalty if "item_map" in found else 0.0
    return _parts(data, chosen, joint, item_map)


def refit_parts(data: PairData, chosen: dict[str, float], *, seed: int) -> Parts:
    """Fit the parts once more with nothing left to choose: no validation user is looked at.

    Args:
        data: the pair's split, of more bridge users than before.
        chosen: what was chosen in the first training.
        seed: of the joint factors.
    """
    joint = train_joint(data, seed=seed) if chosen["list_joint_weight"] else None
    item_map = None
    if chosen["list_item_map_weight"]:
        item_map = fit_item_map(*bridge_rows(data), chosen["list_item_map_penalty"])
    return _parts(data, chosen, joint, item_map)


def forward(
    losses: Callable[[Floats], Losses], base: Floats, offers: Mapping[str, Sequence[Offer]]
) -> tuple[dict[str, Offer], dict[str, float]]:
    """Add the part that helps most, and so on, as long as one proves itself beside those that are there already.

    Args:
        losses: (V,) each validation user's loss of lists by scores (V, T+1), which may be written to.
        base: scores without any part.
        offers: by part.

    Returns:
        The taken offers by part; and each part's certainty, in standard errors, when last looked at.
    """
    found: dict[str, Offer] = {}
    certainties: dict[str, float] = {}
    scores, without = base, losses(base.copy())
    while rest := [name for name in offers if name not in found]:
        tried = {name: _judged(losses, scores, without, offers[name]) for name in rest}
        certainties |= {name: evidence.certainty for name, (_, _, evidence) in tried.items()}
        name = max(rest, key=lambda name: certainties[name])
        offer, lost, evidence = tried[name]
        if not evidence.earned:
            break
        found[name], scores, without = offer, scores + np.float32(offer.weight) * offer.scores, lost
    return found, certainties


def _judged(
    losses: Callable[[Floats], Losses], scores: Floats, without: Losses, offers: Sequence[Offer]
) -> tuple[Offer, Losses, Evidence]:
    """The offer that is best for all, the losses with it, and what users say who did not choose it."""
    lost = np.stack([losses(scores + np.float32(offer.weight) * offer.scores) for offer in offers])
    fold = np.arange(len(without)) % FOLDS
    judged = np.empty_like(without)
    for k in range(FOLDS):
        own = fold == k
        judged[own] = lost[lost[:, ~own].sum(1).argmin(), own]
    best = int(lost.sum(1).argmin())
    return offers[best], lost[best], earns_its_place(without, judged)


def _offers(base: Floats, scores: Floats, weights: Sequence[float], penalty: float = 0.0) -> list[Offer]:
    """A part with each of the weights, in units of equal spread; nothing, where its scores do not differ."""
    spread = _spread(scores)
    unit = _spread(base) / spread if spread > 0 else 0.0
    return [Offer(weight * unit, scores, penalty) for weight in weights]


def _spread(scores: Floats) -> float:
    return float(scores[:, 1:].std(1, dtype=np.float64).mean())


def judges(data: PairData) -> Index:
    """The validation users who decide: all of them, or every n-th where there are very many items."""
    users = np.unique(data.target_validation.users)
    return users[:: -(-len(users) * (data.target_item_count + 1) // SCORES)]


def bridge_rows(data: PairData) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """(M, S+1) and (M, T+1): what bridge users took in the source, and in the target."""
    users = data.cohorts["bridge"]
    source = taken(data.source, data.user_count, data.source_item_count)
    target = taken(data.bridge_ratings, data.user_count, data.target_item_count)
    return source[users], target[users]


def popularity(data: PairData) -> Floats:
    """(T+1,) float32: by how many each target item was taken."""
    return np.bincount(data.target_train.items, minlength=data.target_item_count + 1).astype(np.float32)


def _parts(data: PairData, chosen: dict[str, float], joint: JointFactors | None, item_map: ItemMap | None) -> Parts:
    weight = chosen["list_joint_weight"]
    return Parts(
        chosen["list_bridge"],
        popularity(data) * np.float32(1 - chosen["list_bridge"]),
        JointFactors(joint.source, joint.target * np.float32(weight)) if joint is not None and weight else None,
        item_map.scaled(chosen["list_item_map_weight"])
        if item_map is not None and chosen["list_item_map_weight"]
        else None,
        chosen,
    )
