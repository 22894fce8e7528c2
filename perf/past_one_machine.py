"""Cleaning and splitting on a local Spark cluster, by ratings and executors, beside DuckDB in one process.

    python perf/past_one_machine.py --rows 250000 500000 1000000 2000000

Prints a table: seconds (with Spark, after its session has started), bytes written to shuffles, the most memory that the
driver held (Python and Java), and whether the tables have the digests of DuckDB's. A fifth of the rows are repeats.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.catalog import Columns, Domain, Pair
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.row_engine import engine_of
from ptupcdr_core.store.warehouse import Warehouse

FILES = 8
CONF = """
spark.ui.enabled false
spark.driver.memory 1g
spark.sql.shuffle.partitions 8
spark.eventLog.enabled true
spark.eventLog.compress false
spark.eventLog.dir file://{folder}
"""


def main() -> None:
    """Measure each size with each number of executors, every one in a process of its own."""
    options = _options()
    if options.one:
        print(json.dumps(measure(Path(options.one), options.engine)))
        return
    print("| ratings | engine | seconds | shuffled, MB | driver's memory, MB | same tables |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), rows)
            alone = run(Path(folder), "duckdb", 0)
            print(f"| {rows:,} | DuckDB | {alone['seconds']:.1f} | | {alone['memory'] / 1e6:.0f} | |", flush=True)
            for executors in options.executors:
                found = run(Path(folder), "spark", executors)
                same = "yes" if found["content"] == alone["content"] else "NO"
                print(
                    f"| {rows:,} | Spark, {executors} | {found['seconds']:.1f} | {found['shuffled'] / 1e6:.0f} "
                    f"| {found['memory'] / 1e6:.0f} | {same} |",
                    flush=True,
                )


def write(folder: Path, rows: int) -> None:
    """Two domains of so many ratings in all, by a twentieth as many people."""
    rng = np.random.default_rng(rows)
    for name in ("books", "movies"):
        (folder / name).mkdir()
        for part in range(FILES):
            size = rows // (2 * FILES)
            columns = {
                "user_id": pa.array(rng.integers(0, rows // 20, size)).cast(pa.string()),
                "item_id": pa.array((rng.pareto(1.2, size) * 20).astype(np.int64) % 50_000).cast(pa.string()),
                "rating": rng.integers(1, 6, size),
                "timestamp": rng.integers(0, 10**9, size),
            }
            pq.write_table(pa.table(columns), folder / name / f"{part}.parquet")


def run(folder: Path, engine: str, executors: int) -> dict[str, Any]:
    """What a process of its own measures; ``shuffled`` is what Spark's event log says."""
    with tempfile.TemporaryDirectory() as logs:
        (Path(logs) / "spark-defaults.conf").write_text(CONF.format(folder=logs))
        own = {"SPARK_CONF_DIR": logs, "PTUPCDR_SPARK": f"local-cluster[{executors},1,1024]"}
        command = [sys.executable, __file__, "--one", str(folder), "--engine", engine]
        told = subprocess.run(command, env=os.environ | own, check=True, stdout=subprocess.PIPE, text=True).stdout
        found: dict[str, Any] = json.loads(told.splitlines()[-1])
        return found | {"shuffled": sum(map(_shuffled, Path(logs).rglob("events_*")))}


def _shuffled(log: Path) -> int:
    events = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    metrics = (event.get("Task Metrics") or {} for event in events if event["Event"] == "SparkListenerTaskEnd")
    return sum(found.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0) for found in metrics)


def measure(folder: Path, engine: str) -> dict[str, Any]:
    """Clean both domains and split the pair."""
    source, target = (
        Domain(
            name=name, format="parquet", path=str(folder / name), columns=Columns(timestamp="timestamp"), engine=engine
        )
        for name in ("books", "movies")
    )
    if engine == "spark":
        from ptupcdr_spark.session import open_session

        open_session().range(1).count()
    warehouse, chosen = Warehouse(folder / engine / "warehouse"), engine_of(source, target)
    with peak_memory() as peak:
        start = time.perf_counter()
        for domain in (source, target):
            chosen.ingest_domain(domain, warehouse)
        pair = Pair(source="books", target="movies")
        chosen.build_split(pair, source, target, warehouse, Settings())
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "memory": peak[0],
        "content": warehouse.provenance("domain_splits", pair.key).content,
    }


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most bytes resident at once in this process and, where there is one, the Java program of its session."""
    own, peak, ended = psutil.Process(), [0], threading.Event()
    ours = [own, *(child for child in own.children(recursive=True) if "SparkSubmit" in " ".join(child.cmdline()))]

    def watch() -> None:
        while not ended.wait(0.1):
            peak[0] = max(peak[0], sum(process.memory_info().rss for process in ours))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 500_000, 1_000_000, 2_000_000])
    parser.add_argument("--executors", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--engine", default="duckdb", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
