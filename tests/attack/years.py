"""Backfills of many nights in one home, pruned from time to time: time, memory, files and databases do not grow.

Each night has another seed than the one before, or one more rating. Other programs on the machine change how many
processor seconds a night takes, so every third night also runs in a young home, which has had a single backfill.
``python tests/attack/years.py FOLDER``.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path

from ground import Ground, left_over, pruned
from processes import PAIR, backfill

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import size_of

SEEDS = 3
GROWTH, SLOWER = 1.1, 1.2
"""Largest ratio of the last period to the first: of sizes, which vary with the seed; and of processor seconds relative
to a young home's, which are medians of a few nights.
"""
TIMES = "times a young home's"
GROWING = {
    TIMES: SLOWER,
    **dict.fromkeys(
        ("MB of memory", "files beside them", "MB of Dagster", "MB of MLflow's database", "MB of tables"), GROWTH
    ),
}
"""What is compared, with the largest ratio. Not compared are seconds, which depend on the machine, and the whole home,
in which three to six model versions of 250 files each are kept.
"""
MOST_VERSIONS = 6


def attack(ground: Ground, backfills: int, every: int) -> dict[str, object]:
    """Run one backfill per night; returns what the first and the last period took and left.

    Raises:
        AssertionError: a backfill failed, something was left behind, or the last period exceeds the first by too much.
    """
    home, young, beginning = ground.home("years"), ground.home("young"), ground.home("beginning")
    nights, young_nights, periods = [], list[float](), list[dict[str, float]]()
    assert backfill(beginning, ground.settings(0), [PAIR]).failures == []
    for number in range(1, backfills + 1):
        _one_rating_more(ground.catalog.with_name("books.csv"), number)
        began = time.monotonic()
        ended = backfill(home, ground.settings(number % SEEDS), [PAIR])
        assert ended.failures == [], ended.failures
        nights.append({"seconds": time.monotonic() - began, **ended.used})
        if number % 3 == 0:
            shutil.rmtree(young.root, ignore_errors=True)
            shutil.copytree(beginning.root, young.root)
            ended = backfill(young, ground.settings(SEEDS), [PAIR])
            assert ended.failures == [], ended.failures
            young_nights.append(ended.used["processor seconds"])
        if number % every == 0:
            before = _megabytes(home.root)
            taken = {name: round(statistics.median(night[name] for night in nights), 1) for name in nights[0]}
            alone = round(statistics.median(young_nights), 1)
            taken |= {"of a young home": alone, TIMES: round(taken["processor seconds"] / alone, 2)}
            periods.append({"backfills": number, **taken, "MB before pruning": before, **_pruned(home, ground)})
            nights, young_nights = [], []
            print(periods[-1], flush=True)
    assert not any(left_over(home).values()), left_over(home)
    assert all(period["model versions"] <= MOST_VERSIONS for period in periods), periods
    for kind, growth in GROWING.items():
        assert periods[-1][kind] <= growth * periods[0][kind], f"{kind} grew: {[row[kind] for row in periods]}"
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
    parser.add_argument("--every", type=int, default=10, help="backfills per period; after each, the home is pruned")
    asked = parser.parse_args()
    ground, began = Ground.prepare(asked.folder, [("books", "movies")], "rating"), time.monotonic()
    print(f"years: {attack(ground, asked.backfills, asked.every)} in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
