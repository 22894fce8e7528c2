"""Many backfills in one home, pruned now and then: time, memory, files and databases do not grow.

``python tests/attack/years.py --backfills 50 FOLDER``.
"""

import argparse
import time
from pathlib import Path

from ground import Ground, pruned
from processes import PAIR, backfill

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import size_of


def attack(ground: Ground, backfills: int, every: int) -> list[dict[str, float]]:
    """Backfills of two seeds in turn; a row after each pruning.

    Raises:
        AssertionError: one failed, or the last row is a tenth larger than the first in files or megabytes.
    """
    home, rows = ground.home("years"), []
    for number in range(1, backfills + 1):
        began = time.monotonic()
        told = backfill(home, ground.settings(number % 2), [PAIR])
        assert told.failures == [], told.failures
        if number % every == 0:
            timed = {"backfills": number, "seconds": round(time.monotonic() - began, 1), **told.used}
            rows.append(timed | {"MB before pruning": _megabytes(home.root)} | _pruned(home, ground))
            print(rows[-1], flush=True)
    for kind in _pruned(home, ground):
        assert rows[-1][kind] <= 1.1 * rows[0][kind], f"{kind} grow"
    return rows


def _pruned(home: Home, ground: Ground) -> dict[str, float]:
    return {
        "MB": pruned(home, ground),
        "files": sum(path.is_file() for path in home.root.rglob("*")),
        "MB of Dagster": _megabytes(home.dagster),
        "MB of MLflow": _megabytes(home.mlflow),
    }


def _megabytes(folder: Path) -> float:
    return round(size_of(folder) / 1e6, 2)


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backfills", type=int, default=50)
    parser.add_argument("--every", type=int, default=10)
    asked = parser.parse_args()
    ground, began = Ground.prepare(asked.folder, [("books", "movies")], "rating"), time.monotonic()
    attack(ground, asked.backfills, asked.every)
    print(f"years: {asked.backfills} backfills in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
