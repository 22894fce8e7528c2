"""Many backfills of one home at once, of several pairs and two seeds, while other threads read the views.

No lock error, no partial read, and in the end each pair has the results of one seed only.
``python tests/attack/crowd.py --processes 8 FOLDER``.
"""

import argparse
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
from ground import Ground, left_over, readable
from processes import backfill

from ptupcdr_core.sql import identifier
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.versions import RESULTS

DOMAINS = [("books", "movies"), ("books", "music"), ("movies", "music")]


def attack(ground: Ground, processes: int, readers: int, pairs: list[str]) -> dict[str, object]:
    """Start all backfills at once; they make the same pairs, starting with different ones."""
    home, stop = ground.home("crowd"), threading.Event()

    def run(number: int) -> list[str] | None:
        order = pairs[number % len(pairs) :] + pairs[: number % len(pairs)]
        return backfill(home, ground.settings(1 + number % 2), order).failures

    with ThreadPoolExecutor(processes + readers) as crowd:
        watching = [crowd.submit(_read, home, stop) for _ in range(readers)]
        failures = list(crowd.map(run, range(processes)))
        stop.set()
        reads = sum((reader.result() for reader in watching), Counter[str]())
    assert failures == [[]] * processes, failures
    seeds = {pair: _seeds(home, pair) for pair in pairs}
    assert all(len(found) == 1 for found in seeds.values()), f"a pair has results of two seeds: {seeds}"
    readable(home)
    return {
        "backfills": processes,
        "seeds": [sorted(found) for found in seeds.values()],
        "reads": reads.total(),
        "of views": len(reads),
        **left_over(home),
    }


def _read(home: Home, stop: threading.Event) -> "Counter[str]":
    """Query all views again and again; returns how often each was read. Any error ends the attack."""
    catalog, read = Warehouse(home.warehouse).catalog, Counter[str]()
    while not stop.wait(0.5):
        if catalog.exists():
            # A new connection each time: DuckDB would show an older one the file as it was opened.
            with duckdb.connect(config={"threads": 1}) as connection:
                connection.execute(f"attach '{catalog}' as views (read_only)")
                query = "select view_name from duckdb_views() where database_name = 'views' and not internal"
                for (view,) in connection.execute(query).fetchall():
                    connection.execute(f"select count(*) from views.{identifier(view)}").fetchall()
                    read[view] += 1
    return read


def _seeds(home: Home, pair: str) -> set[int]:
    """The seeds with which the pair's tables and models were made."""
    from ptupcdr_dagster.running.freshness import stored_provenance

    stored = [stored_provenance(home, asset, pair) or {} for asset in RESULTS]
    return {found["settings"]["seed"] for found in stored if "seed" in found.get("settings", {})}


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--readers", type=int, default=4)
    asked = parser.parse_args()
    ground, began = Ground.prepare(asked.folder, DOMAINS, "rating"), time.monotonic()
    seen = attack(ground, asked.processes, asked.readers, [f"{source}__{target}" for source, target in DOMAINS])
    print(f"crowd: {seen} in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
