"""What ranked lists are made from: the bridge, and whatever else validation users show to help.

    score = b û·v  +  π popularity  +  γ p·q  +  δ Σ B[source item]

Every list begins with the bridge's û·v or with popularity, whichever is better alone. The other one, joint factors of
both domains (``ranking.joint``) and a sparse map B from source to target items (``training.item_map``) may be added.
Weights are tried in units in which each part's scores are spread equally over the items. A part is used only if the one
rule of evidence (``training.evidence``) says so; the weight that a user is judged by was chosen by other users, so that
trying several weights does not look like evidence. A bridge that shrank to nothing is left out. A personal bridge has
to be better than the common one even with all other parts.

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
from ptupcdr_core.kernels.sparse_extra import ExtraScores
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.modes.ranking.joint import JointChoice, JointFactors, train_joint
from ptupcdr_core.modes.ranking.judges import Group, Offer, Panel, blocks_of
from ptupcdr_core.training.evidence import Evidence, Losses, earns_its_place, judged_by_others
from ptupcdr_core.training.item_map import ItemMap, RowKind, RowRidge, fit_item_map, taken

WEIGHTS = {
    "bridge": (0.25, 0.5, 1.0, 2.0),
    "popularity": (0.125, 0.25, 0.5, 1.0),
    "joint": (0.25, 0.5, 1.0, 2.0),
    "item_map": (0.25, 0.5, 1.0, 2.0, 4.0, 16.0, 64.0),
}
"""Weights that are tried, in units of equal spread; the map's last one leaves little but the map."""
KINDS = (RowKind(30.0), RowKind(300.0), RowKind(1000.0), RowKind(10.0, 0.25), RowKind(100.0, 0.5))
"""Kinds of the map that are tried: rows as they are, for people who took little, or scaled to length one, for people
who took much."""
SHRUNK = 1 / 20
"""A bridge whose users' vectors are shorter than this share of the target's own has learned nothing."""
KIND_SCORES = 1 << 23
"""At most so many scores are computed to choose the map's kind."""
WORK = 20_000_000_000
"""Bound of source items times bridge users' source events; beyond it, the map is fitted to every n-th bridge user."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The parts of a pair's lists, with their weights.

    Args:
        bridge: b; 0 where popularity serves better.
        popularity: (T+1,) float32, π times how many took each item.
        joint: joint factors, the target side times γ; None where they are not used.
        item_map: the map times δ; None where it is not used.
        chosen: the weights and how they were chosen: all that ``refit_parts`` has to know.
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

    def with_choices(self, further: dict[str, float]) -> Self:
        """The same parts, with further choices to remember."""
        return replace(self, chosen=self.chosen | further)

    def target(self, bridge_items: TargetItems) -> TargetItems:
        """The target items: vectors (T+1, Y+D) of all parts that are products, and popularity as offset."""
        vectors = np.float32(self.bridge) * bridge_items.vectors
        if self.joint is not None:
            vectors = np.hstack([vectors, self.joint.target])
        return TargetItems(vectors, bridge_items.offset + self.popularity)

    def vectors(self, embeddings: Floats, ratings: Ratings) -> Floats:
        """(R, Y+D) the users' vectors to multiply with those of ``target``.

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
            people: (M,) the user of each place.
            places: (M,) places of ratings, those of a user together.
        """
        if self.joint is None:
            return np.zeros((len(places), 0), np.float32)
        count = int(ratings.users.max(initial=0))
        return self.joint.fold_in(ratings, count)[people] - self.joint.leave_out(ratings, count, places)

    def among(self, kept: NDArray[np.bool_]) -> Self:
        """The same, restricted to the marked (T+1,) target items; the padding has to be marked."""
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


def train_parts(groups: Sequence[Group]) -> Parts:
    """Choose what a pair's lists are made from, by the judges of all groups.

    Args:
        groups: first the pair's own, whose bridge, joint factors and item map serve; then further ones. Test ratings
            are not read.

    Returns:
        The parts. A personal bridge may be used only if ``chosen["list_personal"]`` is 1.
    """
    panel = Panel.of(groups)
    data = groups[0].data
    with one_thread():
        popular = panel.stack(_popular(group) for group in groups)
        served = _has_learned(groups[0])
        begins = {"popularity": popular}
        if served:
            begins["bridge"] = panel.stack(group.bridged @ group.items.T for group in groups)
        lost = {name: float(panel.losses([Offer(1.0, own)]).mean()) for name, own in begins.items()}
        first = min(begins, key=lambda name: lost[name])
        trial = _Trial(panel, panel.stack(map(_joint_scores, groups)), [_Maps.of(g.data, g.users) for g in groups])
        found = trial.beside(begins[first], {name: own for name, own in begins.items() if name != first})
        chosen = {"list_personal": 0.0}
        begins.clear()  # they are large
        if served and groups[0].personal is not None:
            personal = panel.stack(group.corrected @ group.items.T for group in groups)
            corrected = trial.beside(personal, {"popularity": popular})
            if earns_its_place(found.losses, corrected.losses).earned:
                found, first, chosen = corrected, "bridge", {"list_personal": 1.0}
        if first == "popularity" and served:
            log.warning("%s: for validation users, popularity makes better lists than the bridge", data.pair)
    chosen |= {"list_bridge_weight": 0.0, f"list_{first}_weight": 1.0} | found.chosen
    return _parts(data, chosen, groups[0].joint, found.item_map)


def refit_parts(data: PairData, chosen: dict[str, float], *, seed: int) -> Parts:
    """Fit the parts once more with nothing left to choose: no validation user is looked at.

    Args:
        data: the pair's split, of more bridge users than before.
        chosen: what was chosen in the first training, ``JointChoice.told`` among it.
        seed: of the joint factors.
    """
    joint = train_joint(data, JointChoice.of(chosen), seed=seed) if chosen["list_joint_weight"] else None
    item_map = None
    if chosen["list_item_map_weight"]:
        kind = RowKind(chosen["list_item_map_penalty"], chosen.get("list_item_map_exponent"))
        with one_thread():  # as it was fitted, to the last digit
            item_map = _Maps.of(data, data.cohorts["bridge"][:0]).sparse(kind)
    return _parts(data, chosen, joint, item_map)


@dataclass(frozen=True)
class _Maps:
    """What maps are fitted to and tried on: everybody's source rows, bridge users' in both domains, the judges'."""

    everybody: sp.csr_matrix
    source: sp.csr_matrix
    target: sp.csr_matrix
    people: sp.csr_matrix

    @classmethod
    def of(cls, data: PairData, judges: Index) -> Self:
        everybody = taken(data.source, data.user_count, data.source_item_count)
        target = taken(data.bridge_ratings, data.user_count, data.target_item_count)
        bridge = data.cohorts["bridge"]
        bridge = bridge[:: max(1, -(-int(everybody[bridge].nnz) * data.source_item_count // WORK))]
        return cls(everybody, everybody[bridge], target[bridge], everybody[judges])

    def scores(self, kind: RowKind, some: NDArray[np.int64]) -> Floats:
        """(R, T+1) scores of some judges by the full map, without computing the map itself."""
        weights = kind.weights(self.everybody)
        ridge = RowRidge(kind.fitted_rows(self.source, weights), kind.penalty)
        return ridge.scores((self.people[some] @ sp.diags(weights)).tocsr().astype(np.float32), self.target)

    def sparse(self, kind: RowKind) -> ItemMap:
        return fit_item_map(self.source, self.target, kind, kind.weights(self.everybody))


@dataclass(frozen=True)
class _Found:
    """What was chosen: (V,) the judges' losses by the sum, the choices by name, and the map if it is used."""

    losses: Losses
    chosen: dict[str, float]
    item_map: ItemMap | None


@dataclass(frozen=True)
class _Trial:
    """Parts on trial: the joint factors' scores (V, T+1), and each group's maps."""

    panel: Panel
    joint: Floats
    maps: Sequence[_Maps]

    def beside(self, base: Floats, others: Mapping[str, Floats]) -> _Found:
        """Add to the base (V, T+1) what proves to help: of the others, the joint factors and the best map."""
        kind, begin, item_map = self._best_kind(base), Offer(1.0, base), None
        offers = {name: _offers(base, own, name) for name, own in {**others, "joint": self.joint}.items()}
        offers["item_map"] = _offers(base, self._full(kind), "item_map")
        weights, certainties, lost = forward(self.panel.losses, begin, offers)
        if "item_map" in weights:  # the sparse map is what serves, so it is judged itself
            del offers["item_map"]  # what it is replaced by is made without it in memory
            fitted = [maps.sparse(kind) for maps in self.maps]
            item_map = fitted[0]
            kept = [own.scores(maps.people) for own, maps in zip(fitted, self.maps, strict=True)]
            offers["item_map"] = _offers(base, sp.vstack(kept, format="csr")[self.panel.order], "item_map")
            weights, certainties, lost = forward(self.panel.losses, begin, offers)
        chosen = {f"list_{name}_certainty": certainties[name] for name in offers}
        chosen |= {f"list_{name}_weight": weights.get(name, 0.0) for name in offers}
        chosen |= {"list_judges": float(len(base)), "list_item_map_penalty": kind.penalty}
        if kind.exponent is not None:
            chosen["list_item_map_exponent"] = kind.exponent
        return _Found(lost, chosen, item_map)

    def _full(self, kind: RowKind) -> Floats:
        return self.panel.stack(maps.scores(kind, np.arange(maps.people.shape[0])) for maps in self.maps)

    def _best_kind(self, base: Floats) -> RowKind:
        """The kind of map that helps most, by some users of the first group."""
        places = self.panel.of_first(KIND_SCORES // base.shape[1])
        rows = self.panel.rows(places)
        own = base[rows]

        def lost(kind: RowKind) -> float:
            offers = _offers(own, self.maps[0].scores(kind, places), "item_map")
            return min(float(self.panel.losses([Offer(1.0, own), offer], rows).mean()) for offer in offers)

        return min(KINDS, key=lost)


def _popular(group: Group) -> Floats:
    own = popularity(group.data)
    return np.broadcast_to(own, (len(group.users), len(own)))


def _joint_scores(group: Group) -> Floats:
    source, count = group.data.source.of_users(group.users, group.data.user_count), group.data.user_count
    scores: Floats = group.joint.fold_in(source, count)[group.users] @ group.joint.target.T
    return scores


def _has_learned(served: Group) -> bool:
    """Whether the common bridge's vectors are not negligible beside the target's own; True if these are all zero."""
    if not len(served.lengths) or _median_length(served.bridged) >= SHRUNK * np.median(served.lengths):
        return True
    log.warning(
        "%s: the ranking bridge shrank everybody to nearly nothing, so lists are made without it", served.data.pair
    )
    return False


def _median_length(vectors: Floats) -> float:
    return float(np.median(np.linalg.norm(vectors, axis=1)))


def forward(
    losses: Callable[[Sequence[Offer]], Losses], base: Offer, offers: Mapping[str, Sequence[Offer]]
) -> tuple[dict[str, float], dict[str, float], Losses]:
    """Add parts one by one, the most certain first, as long as one proves to help beside those already added.

    Args:
        losses: (V,) each judge's loss of lists by the sum of parts.
        base: scores without any part.
        offers: weights to try, by part.

    Returns:
        The weights of the parts that are used; each part's certainty, in standard errors, when last judged; and the
        losses of lists by the sum.
    """
    found: dict[str, Offer] = {}
    certainties: dict[str, float] = {}
    without = losses([base])
    while rest := [name for name in offers if name not in found]:
        tried = {name: _judged(losses, [base, *found.values()], without, offers[name]) for name in rest}
        certainties |= {name: evidence.certainty for name, (_, _, evidence) in tried.items()}
        name = max(rest, key=lambda name: certainties[name])
        offer, lost, evidence = tried[name]
        if not evidence.earned:
            break
        found[name], without = offer, lost
    return {name: offer.weight for name, offer in found.items()}, certainties, without


def _judged(
    losses: Callable[[Sequence[Offer]], Losses], parts: Sequence[Offer], without: Losses, offers: Sequence[Offer]
) -> tuple[Offer, Losses, Evidence]:
    """The best offer over all users, the losses with it, and its evidence from users who did not choose it."""
    lost = np.stack([losses([*parts, offer]) for offer in offers])
    best, judged = judged_by_others(lost)
    return offers[best], lost[best], earns_its_place(without, judged)


def _offers(base: Floats, scores: Floats | sp.csr_matrix, name: str) -> list[Offer]:
    """A part with each of its weights; with weight 0, where its scores do not differ."""
    weights, spread = WEIGHTS[name], _spread(scores)
    unit = _spread(base) / spread if spread > 0 else 0.0
    return [Offer(weight * unit, scores) for weight in weights]


def _spread(scores: Floats | sp.csr_matrix) -> float:
    """The mean over judges of the standard deviation of their scores; in blocks, since it is computed in float64."""
    one, count = Offer(1.0, scores), scores.shape[0]
    spreads = [one.of_judges(judges)[:, 1:].std(1, dtype=np.float64) for judges in blocks_of(count)]
    return float(np.concatenate(spreads).mean())


def popularity(data: PairData) -> Floats:
    """(T+1,) float32: how many users took each target item."""
    return np.bincount(data.target_train.items, minlength=data.target_item_count + 1).astype(np.float32)


def _parts(data: PairData, chosen: dict[str, float], joint: JointFactors | None, item_map: ItemMap | None) -> Parts:
    weight, map_weight = chosen["list_joint_weight"], chosen["list_item_map_weight"]
    return Parts(
        chosen["list_bridge_weight"],
        popularity(data) * np.float32(chosen["list_popularity_weight"]),
        JointFactors(joint.source, joint.target * np.float32(weight)) if joint is not None and weight else None,
        item_map.scaled(map_weight) if item_map is not None and map_weight else None,
        chosen,
    )
