"""Who decides which parts lists are made from: validation users, and where these are few, groups of bridge users too.

Each group is judged by models that were made without its target ratings, so that it is as cold as the validation users
are. The models that serve are those made without the validation users only. A part of lists whose gain is 1.2 standard
errors for 170 validation users shows 2.9 for 1,000 judges: without further groups, parts that help go unused on small
pairs.

Shapes: V judges of all groups, T target items.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.rankings import best_of_rows, measure
from ptupcdr_core.models.bridges import PersonalBridge
from ptupcdr_core.modes.ranking.bridging import RankingTask
from ptupcdr_core.modes.ranking.joint import JointFactors
from ptupcdr_core.training.evidence import Losses

EVIDENCE = ("ndcg_at_10", "ndcg_at_50")
"""A part is used if the mean of both shows that it helps: people look at ten items, and fifty say more about a person.
Chosen by fifty alone, a map with some popularity beside it was two standard errors worse by ten than the map alone
(generated purchases)."""
WANTED = 1_000
"""Number of judges that is wanted; groups are added to reach it."""
GROUPS = 3
"""Most groups beside the validation users; each costs a training of all parts."""
SHARE = 5
"""A group is at most one in so many bridge users, so that what is judged is nearly what serves."""
LEAST = 20
"""Fewest users of a group: fewer say too little for what it costs."""
BLOCK = 32
"""Judges whose sums of scores are held at a time."""
SCORES = 1 << 25
"""Scores of a part held at a time: where there are many target items, only every n-th user judges."""


@dataclass(frozen=True)
class Group:
    """Users who judge, and what models that were made without their target ratings say of them.

    Args:
        data: a split whose validation users they are.
        bridged: (V, Y) float32, their embeddings by the common bridge.
        personal: (V, Y) the same with the personal correction; None where there is none.
        items: (T+1, Y) float32, the target items' side of the bridge's score.
        lengths: (U,) of the target's own user vectors, zero ones left out.
        joint: factors of both domains.
    """

    data: PairData
    bridged: Floats
    personal: Floats | None
    items: Floats
    lengths: Floats
    joint: JointFactors

    @classmethod
    def of(cls, data: PairData, task: RankingTask, bridge: PersonalBridge, joint: JointFactors) -> Self:
        """Bridge the group's users: the tables of everybody need not stay in memory while they judge.

        Args:
            data: a split whose validation users they are.
            task: its frozen vectors.
            bridge: trained between them.
            joint: factors of both domains.
        """
        users, lengths = judges_of(data), np.linalg.norm(task.target_user_vectors, axis=1)
        return cls(
            data,
            replace(bridge, strength=0.0).embed(task, users),
            bridge.embed(task, users) if bridge.strength else None,
            task.target.vectors,
            lengths[lengths > 0],
            joint,
        )

    @cached_property
    def users(self) -> Index:
        """The group's users."""
        return judges_of(self.data)

    @property
    def corrected(self) -> Floats:
        """(V, Y) by the personal bridge, or the common one where that corrects nothing."""
        return self.bridged if self.personal is None else self.personal

    @property
    def relevant(self) -> Ratings:
        """The target items that they took."""
        return self.data.target_validation.of_users(self.users, self.data.user_count)


def judges_of(data: PairData) -> Index:
    """A split's validation users; only some, evenly chosen, where very many items leave no room for all."""
    users, most = np.unique(data.target_validation.users), _room(data)
    return users if len(users) <= most else users[np.linspace(0, len(users) - 1, most).astype(int)]


def further_splits(data: PairData, seed: int) -> Iterator[PairData]:
    """The split once for each further group, which is held out in place of the validation users; these leave it.

    Args:
        data: the pair's split.
        seed: draws the groups.
    """
    bridge, wanted = data.cohorts["bridge"], min(WANTED, _room(data)) - len(np.unique(data.target_validation.users))
    size = min(len(bridge) // SHARE, max(0, -(-wanted // GROUPS)))
    if size >= LEAST:
        dealt = np.random.default_rng([seed, *b"judges"]).permutation(bridge)
        for first in range(0, size * GROUPS, size):
            yield data.holding_out(np.sort(dealt[first : first + size]), "validation")


@dataclass(frozen=True)
class Offer:
    """A part with a weight, on trial.

    Args:
        weight: what its scores are multiplied by.
        scores: (V, T+1) float32; sparse where most are zero.
    """

    weight: float
    scores: Floats | sp.csr_matrix

    def of_judges(self, rows: slice) -> Floats:
        """Some rows of the scores times the weight; new."""
        own = self.scores[rows]
        return np.float32(self.weight) * (own if isinstance(own, np.ndarray) else own.toarray())


@dataclass(frozen=True)
class Panel:
    """The judges of all groups.

    Args:
        groups: the validation users' first, with the models that serve.
        users: (V,) ascending.
        order: (V,) their places among the groups' users, one group after the other.
        relevant: the target items that they took.
    """

    groups: Sequence[Group]
    users: Index
    order: NDArray[np.int64]
    relevant: Ratings

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Self:
        """Join the judges of all groups."""
        users = np.concatenate([group.users for group in groups])
        order = np.argsort(users)
        parts = [group.relevant for group in groups]
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items", "stars"))
        return cls(groups, users[order], order, Ratings(*columns))

    def stack(self, scores: Iterable[Floats]) -> Floats:
        """(V, T+1) scores of all judges, from those of each group; one group's are held beside them at a time."""
        if len(self.groups) == 1:
            [own] = scores  # a group's users are ascending
            return own
        ends = np.cumsum([len(group.users) for group in self.groups])[:-1]
        stacked = np.empty((len(self.users), self.groups[0].data.target_item_count + 1), np.float32)
        for places, own in zip(np.split(np.argsort(self.order), ends), scores, strict=True):
            stacked[places] = own
        return stacked

    def of_first(self, most: int) -> NDArray[np.int64]:
        """At most so many of the first group's users, evenly chosen, by their place in it."""
        count = len(self.groups[0].users)
        return np.unique(np.linspace(0, count - 1, max(1, min(most, count))).astype(np.int64))

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows among all judges of users of the first group."""
        return np.argsort(self.order)[places]

    def losses(self, parts: Sequence[Offer], rows: NDArray[np.int64] | None = None) -> Losses:
        """(V,) loss of lists by the sum of some parts, or of some of the judges.

        Args:
            parts: what is added up, in this order.
            rows: the places of some judges, ascending; then the parts' scores are theirs alone.
        """
        users, relevant = self.users, self.relevant
        if rows is not None:
            users = self.users[rows]
            relevant = relevant.where(np.isin(relevant.users, users))
        blocks = (added_up(parts, judges) for judges in blocks_of(len(users)))
        values = measure(best_of_rows(blocks), users, relevant).values
        return np.asarray(1 - np.mean([values[name] for name in EVIDENCE], axis=0))


def blocks_of(judges: int) -> Iterator[slice]:
    """So many judges in blocks."""
    return (slice(start, min(start + BLOCK, judges)) for start in range(0, judges, BLOCK))


def added_up(parts: Sequence[Offer], rows: slice) -> Floats:
    """Some rows of the sum of parts, in their order; new."""
    total = parts[0].of_judges(rows)
    for part in parts[1:]:
        total += part.of_judges(rows)
    return total


def _room(data: PairData) -> int:
    return max(1, SCORES // (data.target_item_count + 1))
