"""Many backfills in one home, pruned now and then: time, memory, files and databases do not grow.

``python tests/attack/years.py --backfills 50 FOLDER``.
"""

import argparse
import resource
import time
from pathlib import Path

from ground import PAIR, Ground, backfill

from ptupcdr_core.catalog import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import size_of
from ptupcdr_dagster.running.instance import open_instance
from ptupcdr_dagster.running.pruning import Prune


def attack(ground: Ground, backfills: int, every: int) -> list[dict[str, float]]:
    """Backfills of two seeds in turn; a row after each pruning."""
    home, rows = ground.home("years"), []
    for number in range(1, backfills + 1):
        began = time.process_time(), time.monotonic()
        told = backfill(home, ground.settings(number % 2), [PAIR])
        assert told.failures == [], told.failures
        seconds = time.monotonic() - began[1]
        if number % every == 0:
            before = size_of(home.root)
            _prune(home, ground)
            rows.append(_row(home, number, seconds, before))
            print(rows[-1], flush=True)
    return rows


def _prune(home: Home, ground: Ground) -> None:
    with open_instance(home) as instance:
        Prune(home, instance, load_catalog(ground.catalog), time.time()).run()


def _row(home: Home, number: int, seconds: float, before: int) -> dict[str, float]:
    return {
        "backfills": number,
        "seconds": round(seconds, 1),
        "largest_process_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "mb_before": round(before / 1e6, 1),
        "mb": round(size_of(home.root) / 1e6, 1),
        "files": sum(path.is_file() for path in home.root.rglob("*")),
        "dagster_mb": round(size_of(home.dagster) / 1e6, 1),
        "mlflow_mb": round(size_of(home.mlflow) / 1e6, 1),
    }


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backfills", type=int, default=50)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--mode", choices=["both", "rating"], default="both")
    asked = parser.parse_args()
    attack(Ground.prepare(asked.folder, [("books", "movies")], asked.mode), asked.backfills, asked.every)


if __name__ == "__main__":
    main()
