"""Many backfills of one home at once, of several pairs and two seeds, while others read the views.

No error of a lock, no partial read, and in the end no pair that is a mixture of seeds.
``python tests/attack/crowd.py --processes 8 FOLDER``.
"""

import argparse
import threading
import time
from collections import Counter
from pathlib import Path

import duckdb
from ground import Ground, backfill, left_over

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

DOMAINS = [("books", "movies"), ("books", "music"), ("movies", "music")]


def attack(ground: Ground, processes: int, readers: int, pairs: list[str]) -> dict[str, object]:
    """Start all at once; each makes all the pairs, in an order of its own."""
    home = ground.home("crowd")
    failures: list[list[str] | None] = []
    backfills = []
    for number in range(processes):
        order = pairs[number % len(pairs) :] + pairs[: number % len(pairs)]
        settings = ground.settings(1 + number % 2)

        def run(settings: dict[str, int] = settings, order: list[str] = order) -> None:
            failures.append(backfill(home, settings, order).failures)

        backfills.append(threading.Thread(target=run))
    stop, read, errors = threading.Event(), Counter[str](), Counter[str]()
    watching = [threading.Thread(target=_read, args=(home, stop, read, errors)) for _ in range(readers)]
    for thread in (*backfills, *watching):
        thread.start()
    for thread in backfills:
        thread.join()
    stop.set()
    for thread in watching:
        thread.join()
    assert failures == [[]] * processes, failures
    assert not errors, errors
    mixed = [pair for pair in pairs if len(_seeds(home, pair)) != 1]
    assert not mixed, mixed
    return {"backfills": processes, "pairs": len(pairs), "reads": read.total(), **left_over(home)}


def _read(home: Home, stop: threading.Event, read: "Counter[str]", errors: "Counter[str]") -> None:
    catalog = Warehouse(home.warehouse).catalog
    while not stop.wait(0.2):
        if not catalog.exists():
            continue
        try:
            # A connection of its own: DuckDB would show one that is kept the file that it opened.
            with duckdb.connect(config={"threads": 1}) as connection:
                connection.execute(f"attach '{catalog}' as views (read_only)")
                for (view,) in connection.execute(
                    "select view_name from duckdb_views() where database_name = 'views' and not internal"
                ).fetchall():
                    connection.execute(f'select count(*) from views."{view}"').fetchall()
                    read[view] += 1
        except duckdb.Error as error:
            errors[str(error)[:200]] += 1


def _seeds(home: Home, pair: str) -> set[int]:
    warehouse, found = Warehouse(home.warehouse, threads=1), set()
    for file in home.warehouse.glob(f"*/{pair}.duckdb"):
        found.add(warehouse.provenance(file.parent.name, pair)[1]["seed"])
    return found


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--mode", choices=["both", "rating"], default="both")
    asked = parser.parse_args()
    ground, began = Ground.prepare(asked.folder, DOMAINS[: asked.pairs], asked.mode), time.monotonic()
    pairs = [f"{source}__{target}" for source, target in DOMAINS[: asked.pairs]]
    seen = attack(ground, asked.processes, asked.readers, pairs)
    print(f"crowd: {seen} in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
