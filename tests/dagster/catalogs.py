"""Small catalogs with planted tastes, made in a second and trained in a few."""

import csv
import random
from collections.abc import Iterable
from pathlib import Path

SPANS = {"books": range(0, 150), "movies": range(30, 180), "music": range(60, 210)}
ITEMS = 40
PAIRS = (("books", "movies"), ("books", "music"), ("movies", "music"))


def small_catalog(folder: Path, pairs: Iterable[tuple[str, str]] = PAIRS, *, extra: str = "") -> Path:
    """Write three domains of 150 users each, any two of which share 90 to 120 users, and their catalog.

    A user likes even or odd items, in every domain; ``extra`` is appended to the catalog file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for domain, users in SPANS.items():
        write_domain(folder / f"{domain}.csv", domain, users)
    lines = [domain_entry(domain) for domain in SPANS]
    lines += [f'[[pairs]]\nsource = "{source}"\ntarget = "{target}"\n' for source, target in pairs]
    path = folder / "domains.toml"
    path.write_text("\n".join(lines) + extra)
    return path


def domain_entry(domain: str) -> str:
    return (
        f'[domains.{domain}]\nformat = "csv"\npath = "{domain}.csv"\n'
        'columns = { user = "user_id", item = "item_id", rating = "rating", timestamp = "timestamp" }\nscale = [1, 5]\n'
    )


def write_domain(path: Path, domain: str, users: Iterable[int]) -> None:
    chance = random.Random(domain)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "rating", "timestamp"])
        for user in users:
            for item in sorted(chance.sample(range(ITEMS), 14)):
                liked = (user + item) % 2 == 0
                rating = min(5, max(1, (4 if liked else 2) + chance.choice([-1, 0, 0, 1])))
                rows.writerow(
                    [f"user{user:03d}", f"{domain}-{item:02d}", rating, 1_600_000_000 + chance.randrange(10**6)]
                )
