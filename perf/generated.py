"""Generated ratings with the file format and the published sizes of the Amazon reviews of 2014 (5-core).

Only the counts are those of the real ratings. Users' activity and items' popularity are long-tailed. Every user has
tastes, which a linear map of the user's group carries over to the other domain, so that the models have something to
find.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SIZES = {  # published numbers of users, items, ratings
    "Books": (603_668, 367_982, 8_898_041),
    "Movies_and_TV": (123_960, 50_052, 1_697_533),
    "CDs_and_Vinyl": (75_258, 64_443, 1_097_592),
}
TASKS = {  # source, target, overlapping users
    1: ("Movies_and_TV", "CDs_and_Vinyl", 18_031),
    2: ("Books", "Movies_and_TV", 37_388),
    3: ("Books", "CDs_and_Vinyl", 16_738),
}
TASTES, GROUPS, FEWEST = 6, 5, 5
SCALE = (1.0, 5.0)
REVIEW = "It was what the description had promised, arrived early, and has been looked at more than once since. "


@dataclass(frozen=True)
class Files:
    """The two files of a task, and how many ratings each has."""

    source: Path
    target: Path
    source_ratings: int
    target_ratings: int


@dataclass(frozen=True)
class _People:
    tastes: NDArray[np.float64]
    kindness: NDArray[np.float64]
    activity: NDArray[np.float64]


def write_task(folder: Path, task: int, scale: float, seed: int = 0) -> Files:
    """Write a task's two files, ``reviews_<Domain>_5.json.gz``, with all published counts times ``scale``.

    There are a few per cent fewer ratings than published, since repeated draws of a user and item are dropped.
    """
    rng = np.random.default_rng([seed, task])
    source, target, shared = TASKS[task]
    users, others, both = (max(20, round(n * scale)) for n in (SIZES[source][0], SIZES[target][0], shared))
    everybody = users + others - both
    people = _People(
        rng.normal(size=(everybody, TASTES)), rng.normal(0, 0.35, everybody), rng.lognormal(0, 1.1, everybody)
    )
    maps = rng.normal(size=(GROUPS, TASTES, TASTES)) / np.sqrt(TASTES)
    group = rng.integers(0, GROUPS, everybody)
    carried = _People(np.einsum("uk,ukl->ul", people.tastes, maps[group]), people.kindness, people.activity)
    first, second = (folder / f"reviews_{domain}_5.json.gz" for domain in (source, target))
    return Files(
        first,
        second,
        _write(first, source, np.arange(users), people, scale, rng),
        _write(second, target, np.arange(users - both, everybody), carried, scale, rng),
    )


def _write(
    path: Path, domain: str, who: NDArray[np.int64], people: _People, scale: float, rng: np.random.Generator
) -> int:
    items, ratings = max(20, round(SIZES[domain][1] * scale)), round(SIZES[domain][2] * scale)
    weight = people.activity[who] / people.activity[who].sum()
    amounts = FEWEST + rng.multinomial(max(0, ratings - FEWEST * len(who)), weight)
    user = np.repeat(who, amounts)
    popularity = np.cumsum((np.arange(items) + 10.0) ** -0.9)
    item = np.searchsorted(popularity, rng.uniform(0, popularity[-1], len(user)))
    couples = rng.permutation(np.unique(user * items + item))
    user, item = couples // items, couples % items
    quality, appeal = rng.normal(0, 0.5, items), rng.normal(size=(items, TASTES))
    stars = np.rint(
        4.1
        + quality[item]
        + people.kindness[user]
        + 0.3 * np.einsum("nk,nk->n", people.tastes[user], appeal[item])
        + rng.normal(0, 0.7, len(user))
    )
    table = pa.table({"user": user, "item": item, "stars": np.clip(stars, *SCALE)})
    connection = duckdb.connect()
    connection.register("ratings", table)
    connection.execute(
        f"""copy (
            select printf('A%013d', "user") as "reviewerID", printf('{domain[0]}%09d', item) as asin,
                   '{REVIEW}' as "reviewText", stars as overall,
                   (1000000000 + hash("user", item) % 400000000)::bigint as "unixReviewTime"
            from ratings
        ) to '{path}' (format json, compression gzip)"""
    )
    return len(couples)


def write_catalog(folder: Path, task: int) -> Path:
    """Write the catalog for a task's two files."""
    source, target, _ = TASKS[task]
    entries = [
        f'[domains.{domain}]\nformat = "amazon-2014"\npath = "reviews_{domain}_5.json.gz"\n'
        for domain in (source, target)
    ]
    path = folder / "domains.toml"
    path.write_text("\n".join([*entries, f'[[pairs]]\nsource = "{source}"\ntarget = "{target}"\n']))
    return path
