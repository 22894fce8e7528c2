"""Backfills of many nights in one home, pruned now and then: time, memory, files and databases do not grow.

Each night has another seed than the one before, or one more rating; ``python tests/attack/years.py FOLDER``.
"""

import argparse
import statistics
import time
from pathlib import Path

from ground import Ground, left_over, pruned
from processes import PAIR, backfill

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import size_of

SEEDS = 3
GROWTH = 1.1
"""By this factor the last period may exceed the first: it holds results of other seeds, and the machine may be busy."""
NOT_COMPARED = {"backfills", "seconds", "MB before pruning", "MB", "files", "model versions"}
"""Seconds depend on the machine; the first period begins with nothing; three to six model versions stay, of 250 files
each.
"""
MOST_VERSIONS = 6


def attack(ground: Ground, backfills: int, every: int) -> dict[str, object]:
    """Run one backfill per night, and return for each period what they took and left.

    Raises:
        AssertionError: one failed or left something behind, or a period takes more than the first times GROWTH.
    """
    home, nights, periods = ground.home("years"), [], list[dict[str, float]]()
    for number in range(1, backfills + 1):
        _one_rating_more(ground.catalog.with_name("books.csv"), number)
        began = time.monotonic()
        told = backfill(home, ground.settings(number % SEEDS), [PAIR])
        assert told.failures == [], told.failures
        nights.append({"seconds": time.monotonic() - began, **told.used})
        if number % every == 0:
            before = _megabytes(home.root)
            taken = {name: round(statistics.median(night[name] for night in nights), 1) for name in nights[0]}
            periods.append({"backfills": number, **taken, "MB before pruning": before, **_pruned(home, ground)})
            nights = []
            print(periods[-1], flush=True)
    assert not any(left_over(home).values()), left_over(home)
    assert all(period["model versions"] <= MOST_VERSIONS for period in periods), periods
    for kind in periods[0].keys() - NOT_COMPARED:
        assert periods[-1][kind] <= GROWTH * periods[0][kind], f"{kind} grow: {[row[kind] for row in periods]}"
    return {"backfills": backfills, "first": periods[0], "last": periods[-1], **left_over(home)}


def _one_rating_more(file: Path, number: int) -> None:
    """Add a rating of a new user every other night; on the others only the seed changes."""
    if number % 2:
        with file.open("a", newline="") as rows:
            rows.write(f"night{number:03d},books-{number % 40:02d},{1 + number % 5},1600000000\r\n")


def _pruned(home: Home, ground: Ground) -> dict[str, float]:
    megabytes = pruned(home, ground)
    files = [path for path in home.root.rglob("*") if path.is_file()]
    versions = list(home.mlflow.glob("artifacts/*/artifacts/model-*"))
    return {
        "MB": megabytes,
        "files": len(files),
        "model versions": len(versions),
        "files beside them": sum(not any(path.is_relative_to(version) for version in versions) for path in files),
        "MB of Dagster": _megabytes(home.dagster),
        "MB of MLflow's database": _megabytes(home.mlflow / "mlflow.db"),
        "MB of tables": _megabytes(home.warehouse),
    }


def _megabytes(folder: Path) -> float:
    return round(size_of(folder) / 1e6, 2)


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backfills", type=int, default=50)
    parser.add_argument("--every", type=int, default=10, help="backfills of a period; after each it is pruned")
    asked = parser.parse_args()
    ground, began = Ground.prepare(asked.folder, [("books", "movies")], "rating"), time.monotonic()
    print(f"years: {attack(ground, asked.backfills, asked.every)} in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
