"""Generated ratings of domains that share users, with planted structure that a personal bridge can find.

Every person belongs to one hidden cluster. A cluster has a favourite genre, which shows in what its people rate and
like. In each domain it also has its own linear map from taste to preferences, which decides what else they choose and
how they rate everything. So a person's history in one domain shows the cluster, and the cluster decides the map into
another domain: one common map cannot fit all clusters, but a personal one can, for ratings and for lists. Besides, each
person rates harshly or kindly everywhere, and some items are better and far more popular than others.
"""

import hashlib

import numpy as np
import pyarrow as pa

VERSION = 2
"""Raised whenever the generated ratings change, so that results computed from the old ones count as out of date."""

PEOPLE = 2_100
CLUSTERS = 4
TASTE_SIZE = 6
ITEMS = 300
SHARE_IN_DOMAIN = 0.7
MEAN_RATINGS = 23
LIKING = 0.8
"""Stars by which a cluster prefers its favourite genre."""
EXPOSURE = 8.0
"""How many times likelier its people meet an item of that genre."""
CHOSEN = 0.7
"""Share of rated items that people chose by taste; they met the rest by chance."""
PULL = 3.0
"""How strongly they choose: the log of an item's odds grows by this times how much they like it."""
FIRST_SECOND, LAST_SECOND = 1_262_304_000, 1_420_070_400  # the years 2010 to 2014


def clusters() -> dict[str, int]:
    """The hidden cluster of every person, by user id: the true answer for tests."""
    return {_user_id(person): int(cluster) for person, cluster in enumerate(_People().cluster)}


def generate(domain_name: str) -> pa.Table:
    """Generate one domain's ratings; the same name always gives the same table.

    Returns some 35,000 rows of user_id (string, shared between domains), item_id (string), rating (float64, 1 to 5)
    and timestamp (int64, seconds since 1970), in random order.
    """
    people = _People()
    rng = np.random.default_rng([VERSION, *hashlib.sha256(domain_name.encode()).digest()[:4]])
    genre = rng.integers(0, CLUSTERS, ITEMS)
    loadings = rng.normal(0, 0.45, (ITEMS, TASTE_SIZE))
    loadings[np.arange(ITEMS), genre] += 1.0
    quality = rng.normal(0, 0.35, ITEMS)
    popularity = rng.permutation(1 / (10 + np.arange(ITEMS)) ** 0.9)

    maps = 0.45 * _rotation(rng) + np.stack([_rotation(rng) for _ in range(CLUSTERS)])
    preferences = np.einsum("ut,utd->ud", people.taste, maps[people.cluster])

    members = np.flatnonzero(rng.random(PEOPLE) < SHARE_IN_DOMAIN)
    counts = np.minimum(8 + rng.geometric(1 / (MEAN_RATINGS - 8), len(members)), ITEMS // 4)
    user = np.repeat(members, counts)
    item = np.concatenate([
        rng.choice(
            ITEMS,
            count,
            replace=False,
            p=_exposure(popularity, genre == people.cluster[person], loadings @ preferences[person]),
        )
        for person, count in zip(members, counts, strict=True)
    ])  # fmt: skip
    score = (
        3.45
        + quality[item]
        + people.harshness[user]
        + LIKING * ((genre[item] == people.cluster[user]) - 0.6)
        + 0.75 * np.einsum("nd,nd->n", preferences[user], loadings[item])
        + rng.normal(0, 0.45, len(user))
    )
    order = rng.permutation(len(user))
    return pa.table({
        "user_id": [_user_id(person) for person in user[order]],
        "item_id": [f"{domain_name}-{number:04d}" for number in item[order]],
        "rating": np.clip(np.rint(score), 1, 5)[order],
        "timestamp": rng.integers(FIRST_SECOND, LAST_SECOND, len(user)),
    })  # fmt: skip


class _People:
    """What each person has in every domain: cluster, taste and harshness."""

    def __init__(self) -> None:
        rng = np.random.default_rng([VERSION, PEOPLE])
        self.cluster = rng.integers(0, CLUSTERS, PEOPLE)
        self.taste = rng.normal(0, 0.6, (PEOPLE, TASTE_SIZE))
        self.harshness = rng.normal(0, 0.35, PEOPLE)


def _user_id(person: int) -> str:
    return f"person-{person:05d}"


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(TASTE_SIZE, TASTE_SIZE)))
    return np.asarray(q * np.sign(np.diag(r)))


def _exposure(popularity: np.ndarray, favourite: np.ndarray, liking: np.ndarray) -> np.ndarray:
    """A person's probability of rating each item: higher for popular items, the favourite genre, and items they would
    like."""
    met = popularity * np.where(favourite, EXPOSURE, 1.0)
    chosen = met * np.exp(PULL * liking)
    return np.asarray((1 - CHOSEN) * met / met.sum() + CHOSEN * chosen / chosen.sum())
