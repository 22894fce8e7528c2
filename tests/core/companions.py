"""Two domains of sparse purchases in which certain items go together: a map of high rank between long-tailed items.

People buy what is popular, what is popular in their corner of the shop, and, if they buy in both domains, companions of
what they bought in the source. A few corners make a map of low rank, which a bridge between factors can learn;
companions make one of full rank, which it cannot. Each of the three can be switched off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import PairData, Ratings, Scale

HISTORY = 20


@dataclass(frozen=True)
class Shop:
    """How much of everything there is, and where purchases come from.

    Args:
        source_only, target_only, bridge, validation, test: people by cohort; source_only are the cold ones.
        source_items, target_items: how many items there are to buy.
        purchases: mean number of a person's purchases in a domain; at least 2.
        companions: how many target items go with a source item.
        of_companions: share of a person's target purchases that are companions of their source purchases.
        of_corner: share, in either domain, that comes from the person's corner; the rest is popular with everybody.
        corners: into how many corners both domains are divided.
        shared_corners: whether a person's corner is the same in both domains, so that a bridge can learn it.
        of_side: share that comes from the person's side of the shop, which has two. People are of two kinds, which show
            in some of their source items; in the target the second kind is on the other side. So what carries over
            depends on the person.
        skew: exponent of the popularity's power law.
    """

    source_only: int = 600
    target_only: int = 600
    bridge: int = 500
    validation: int = 150
    test: int = 200
    source_items: int = 300
    target_items: int = 400
    purchases: float = 8.0
    companions: int = 3
    of_companions: float = 0.5
    of_corner: float = 0.3
    corners: int = 8
    shared_corners: bool = True
    of_side: float = 0.0
    skew: float = 0.8


FULL_SIZE = Shop(
    source_only=20_000, target_only=19_900, bridge=1_567, validation=150, test=426, source_items=8_800,
    target_items=12_300, purchases=7.2, companions=2, of_companions=0.45, of_corner=0.25, corners=40, skew=0.5,
)  # fmt: skip
"""As large as two domains of purchases on which plain neighbours were three times as good as a bridge alone."""


def purchases(shop: Shop, seed: int) -> PairData:
    """Let people shop; everybody buys at least one item in each of their domains, and no item twice."""
    rng = np.random.default_rng(seed)
    sizes = {
        "cold": shop.source_only,
        "test": shop.test,
        "validation": shop.validation,
        "bridge": shop.bridge,
        "target_only": shop.target_only,
    }
    cohorts, first = {}, 1
    for name, size in sizes.items():
        cohorts[name] = np.arange(first, first + size, dtype=np.int32)
        first += size
    people = first - 1
    corners = {side: rng.integers(shop.corners, size=people + 1) for side in ("source", "target")}
    if shop.shared_corners:
        corners["target"] = corners["source"]
    kinds, sides = rng.integers(2, size=(2, people + 1))
    in_source = np.concatenate([cohorts[name] for name in ("cold", "test", "validation", "bridge")])
    source = _domain(rng, shop, np.sort(in_source), shop.source_items, corners["source"], sides)
    if shop.of_side:
        source = _with_marks(rng, source, kinds)
    in_target = np.concatenate([cohorts[name] for name in ("test", "validation", "bridge", "target_only")])
    goes_with = rng.integers(1, shop.target_items + 1, (shop.source_items + 1, shop.companions))
    inspired = _inspired(source, goes_with, people)
    target = _domain(rng, shop, np.sort(in_target), shop.target_items, corners["target"], (sides + kinds) % 2, inspired)
    part = {name: target.of_users(cohorts[name], people) for name in ("validation", "test")}
    histories, stars = _histories(source, people)
    return PairData(
        pair="shop__market",
        user_count=people,
        source_item_count=shop.source_items,
        target_item_count=shop.target_items,
        source=source,
        target_train=target.of_users(np.concatenate([cohorts["bridge"], cohorts["target_only"]]), people),
        target_validation=part["validation"],
        target_test=part["test"],
        cohorts=cohorts,
        histories=histories,
        history_stars=stars,
        source_scale=Scale(1, 5),
        target_scale=Scale(1, 5),
        split="companions",
    )


def _domain(
    rng: np.random.Generator,
    shop: Shop,
    users: Index,
    items: int,
    corners: NDArray[np.int64],
    sides: NDArray[np.int64],
    inspired: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Ratings:
    """What these users buy of items 1..items."""
    bought = np.repeat(users, 1 + rng.geometric(1 / (shop.purchases - 1), len(users)))
    popular = np.arange(1, items + 1) ** -shop.skew
    popular = rng.permutation(popular / popular.sum())
    chosen = rng.choice(items, len(bought), p=popular)
    why = rng.random(len(bought))
    reasons = (
        (why < shop.of_corner, corners, shop.corners),
        ((why >= shop.of_corner) & (why < shop.of_corner + shop.of_side), sides, 2),
    )
    for local, place, places in reasons:
        place_of = rng.integers(places, size=items)
        for here in range(places):
            mine, there = np.flatnonzero(local & (place[bought] == here)), np.flatnonzero(place_of == here)
            if len(there):
                chosen[mine] = rng.choice(there, len(mine), p=popular[there] / popular[there].sum())
    chosen += 1
    if inspired is not None:
        counts, offsets, companions = inspired
        follow = np.flatnonzero((rng.random(len(bought)) < shop.of_companions) & (counts[bought] > 0))
        at = offsets[bought[follow]] + (rng.random(len(follow)) * counts[bought[follow]]).astype(np.int64)
        chosen[follow] = companions[at]
    keys = np.unique(bought.astype(np.int64) * (items + 1) + chosen)
    stars = rng.integers(3, 6, len(keys)).astype(np.float32)
    return Ratings((keys // (items + 1)).astype(np.int32), (keys % (items + 1)).astype(np.int32), stars)


def _with_marks(rng: np.random.Generator, source: Ratings, kinds: NDArray[np.int64]) -> Ratings:
    """The last forty items are marks, twenty for each kind: every third purchase is one of the person's kind."""
    items, last = source.items.copy(), int(source.items.max())
    marked = np.flatnonzero(rng.random(len(items)) < 1 / 3)
    items[marked] = last - 20 * kinds[source.users[marked]] - rng.integers(20, size=len(marked))
    keys = np.unique(source.users.astype(np.int64) * (last + 1) + items)
    stars = rng.integers(4, 6, len(keys)).astype(np.float32)
    return Ratings((keys // (last + 1)).astype(np.int32), (keys % (last + 1)).astype(np.int32), stars)


def _inspired(
    source: Ratings, goes_with: NDArray[np.int64], people: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Companions of each user's purchases: how many, where each user's begin, and all of them in order of users."""
    width = goes_with.shape[1]
    counts = np.bincount(source.users, minlength=people + 1) * width
    return counts, np.cumsum(counts) - counts, goes_with[source.items].ravel()


def _histories(source: Ratings, people: int) -> tuple[Index, NDArray[np.float32]]:
    histories = np.zeros((people + 1, HISTORY), np.int32)
    stars = np.zeros((people + 1, HISTORY), np.float32)
    places = np.arange(len(source)) - np.searchsorted(source.users, source.users)
    kept = places < HISTORY
    histories[source.users[kept], places[kept]] = source.items[kept]
    stars[source.users[kept], places[kept]] = source.stars[kept]
    return histories, stars
