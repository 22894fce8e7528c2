"""What the meta network looks at: the weights it gives to the items of a few people's histories."""

from dataclasses import dataclass

import numpy as np
import torch

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.report.facts import Facts

PEOPLE = 4
"""Test users shown; half as many where attention is uniform."""
ITEMS = 8
"""Shown of a history, the most attended ones."""
UNIFORM = 0.05
"""Attention counts as uniform where no item's weight exceeds the even weight by more than this fraction."""


@dataclass(frozen=True)
class Attended:
    """One item of a history.

    Args:
        item: index of the source item.
        stars: as the person rated it.
        weight: its share; the weights of the whole history sum to 1.
    """

    item: int
    stars: float
    weight: float


@dataclass(frozen=True)
class Person:
    """One person's attention.

    Args:
        user: index.
        length: items in the history.
        items: the most attended ones, most first.
    """

    user: int
    length: int
    items: list[Attended]


@dataclass(frozen=True)
class Attention:
    """The attention of a few test users, and how even it is over all of them.

    Args:
        people: from the most concentrated attention to the most even.
        uniform: whether every test user's weights are nearly even (see ``UNIFORM``).
        concentration: the largest weight of a history times its length, averaged over the test users; 1 is even.
        heaviest: the same, of the most concentrated test user.
    """

    people: list[Person]
    uniform: bool
    concentration: float
    heaviest: float


def attend(facts: Facts) -> Attention | None:
    """Read the weights; None where no test user has a history of at least two items."""
    histories = facts.data.histories
    users = facts.data.cohorts["test"]
    users = users[(histories[users] > 0).sum(1) >= 2]
    if not len(users):
        return None
    weights = _weights(facts, users)
    lengths = (histories[users] > 0).sum(1)
    peaks = weights.max(1) * lengths
    longest = np.flatnonzero(lengths >= min(ITEMS, lengths.max()))
    ranked = longest[np.argsort(-peaks[longest], kind="stable")]
    uniform = bool((peaks - 1 < UNIFORM).all())
    people = PEOPLE // 2 if uniform else PEOPLE
    rows = ranked[np.unique(np.linspace(0, len(ranked) - 1, people).round().astype(int))]
    return Attention(
        [_person(facts, users[row], weights[row]) for row in rows],
        uniform,
        float(peaks.mean()),
        float(peaks.max()),
    )


def _weights(facts: Facts, users: Index) -> Floats:
    """(R, L) attention, 0 where padded."""
    items = facts.data.histories[users]
    with torch.inference_mode():
        weights: Floats = facts.bridges.personal.network.attention(
            torch.from_numpy(facts.task.history_vectors[items]),
            torch.from_numpy(items > 0),
            torch.from_numpy(facts.task.history_stars[users]),
        ).numpy()
    return weights


def _person(facts: Facts, user: int, weights: Floats) -> Person:
    items, stars = facts.data.histories[user], facts.data.history_stars[user]
    length = int((items > 0).sum())
    first = np.argsort(-weights[:length], kind="stable")[:ITEMS]
    return Person(int(user), length, [Attended(int(items[at]), float(stars[at]), float(weights[at])) for at in first])
