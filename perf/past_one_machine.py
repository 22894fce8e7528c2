"""Whole backfills on a local Spark cluster, compared with the same on DuckDB: what they cost, and what they make.

    python perf/past_one_machine.py                                            the demo, two executors
    python perf/past_one_machine.py --scales .025 .05 .1 .2 --executors 1 2    generated files (task 1 of generated.py)
    python perf/past_one_machine.py --scales .025 .05 .1 .2 --most-ratings 50000      no more read by one program

Prints for every backfill seconds, processor seconds, and the peak memory of the driver's Python program, also of each
asset; and bytes shuffled. Then it prints how perf/two_homes.py compares the two homes, and whether ``ptupcdr evaluate``
and ``recommend`` print the same. Exits with 1 if they differ.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from dagster import DagsterInstance
from generated import write_catalog, write_task
from two_homes import report

from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

COMMAND = Path(sys.executable).with_name("ptupcdr")
IN_BLOCKS = """
from ptupcdr_dagster.__main__ import main
from ptupcdr_core.stages import embeddings
from ptupcdr_spark import people, pretraining
pretraining.BLOCK = people.RATINGS = {block}
embeddings.USERS = {block} // 16
main()
"""
"""The command ``ptupcdr`` with smaller blocks."""
ON_SPARK = ("raw_ratings", "domain_splits", "source_model", "target_model")
"""The assets whose work is on Spark; later ones hold a pair in memory."""
FILES = 4
PERSON = b'"reviewerID":"'
"""What comes before a person's id in a line of the generated files."""
DEMO = "".join(f'[domains.{name}]\nformat = "demo"\n' for name in ("books", "movies"))
CONF = """
spark.ui.enabled false
spark.driver.memory 1g
spark.driver.host 127.0.0.1
spark.sql.shuffle.partitions 4
spark.eventLog.enabled true
spark.eventLog.compress false
spark.eventLog.dir file://{folder}
"""


@dataclass
class Watched:
    """What a backfill cost.

    Args:
        seconds: Wall-clock seconds.
        processor: Processor seconds of the driver's Python, the driver's Java, and the executors.
        samples: The time, the resident bytes of the driver's Python, and all processor seconds until then.
        assets: When each asset began and ended.
        shuffled: Bytes written to shuffles.
    """

    seconds: float = 0.0
    processor: dict[str, float] = field(default_factory=dict)
    samples: list[tuple[float, int, float]] = field(default_factory=list)
    assets: dict[str, tuple[float, float]] = field(default_factory=dict)
    shuffled: int = 0

    def most(self, assets: tuple[str, ...] = ()) -> float:
        """The driver's peak memory in MB while these assets were made; none: in the whole run."""
        spans = [self.assets[name] for name in assets] or [(0.0, float("inf"))]
        sizes = (size for at, size, _ in self.samples if any(low <= at <= high for low, high in spans))
        return max(sizes, default=0) / 1e6

    def _made(self) -> list[tuple[str, tuple[float, float]]]:
        return [entry for entry in self.assets.items() if not entry[0].endswith("_checks")]

    def _used(self, start: float, end: float) -> float:
        times, _, used = zip(*self.samples, strict=True)
        return float(np.diff(np.interp([start, end], times, used))[0])

    def described(self, name: str) -> str:
        """The costs as text."""
        of_each = ", ".join(
            f"{name} {end - start:.0f} s, {self._used(start, end):.0f} s, {self.most((name,)):.0f} MB"
            for name, (start, end) in self._made()
        )
        processor = ", ".join(f"{who} {seconds:.0f}" for who, seconds in self.processor.items())
        return (
            f"{name}: {self.seconds:.0f} s; processor seconds: {processor}; driver's memory, MB: "
            f"{self.most(ON_SPARK):.0f} while on Spark, {self.most():.0f} in all; "
            f"MB shuffled: {self.shuffled / 1e6:.1f}\n    {of_each}"
        )


def main() -> None:
    """Run and compare what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[0.0], help="multiplies the published sizes; 0: the demo"
    )
    parser.add_argument("--executors", type=int, nargs="+", default=[2])
    parser.add_argument("--block", type=int, default=1 << 20, help="ratings per block; choose fewer for small files")
    parser.add_argument("--copies", type=int, default=1, help="of every person: more ratings, but no more items")
    parser.add_argument("--most-ratings", type=int, default=200_000_000, help="the setting of this name")
    parser.add_argument("--keep", type=Path, help="make the homes in this folder and keep them")
    options, same = parser.parse_args(), True
    with tempfile.TemporaryDirectory(prefix="ptupcdr-spark-") as temporary:
        for scale in options.scales:
            work = (options.keep or Path(temporary)).absolute() / f"{scale:g}"
            work.mkdir(parents=True)
            catalog, pair = prepared(work, scale, options.copies)
            most = options.most_ratings
            print(backfill(work / "duckdb", catalog, most).described(f"scale {scale:g}, DuckDB"), flush=True)
            on_spark = catalog.with_name("spark.toml")
            on_spark.write_text(catalog.read_text().replace("format = ", 'engine = "spark"\nformat = '))
            for executors in options.executors:
                home = work / f"spark{executors}"
                cost = backfill(home, on_spark, most, executors, options.block)
                print(cost.described(f"scale {scale:g}, Spark, {executors}"), flush=True)
                same &= report(work / "duckdb", home)
                same &= commands(pair, (work / "duckdb", catalog), (home, on_spark))
    sys.exit(not same)


def prepared(work: Path, scale: float, copies: int = 1) -> tuple[Path, str]:
    """A catalog of generated files with so many copies of everybody, or of the demo if ``scale`` is 0, and the key of
    its pair."""
    if scale:
        catalog, files = write_catalog(work, 1), write_task(work, 1, scale)
        for file in (files.source, files.target):
            _cut(file, copies)
        catalog.write_text(catalog.read_text().replace(".json.gz", "/*.json.gz"))
        print(f"scale {scale:g}: {files.source_ratings:,} + {files.target_ratings:,} ratings", flush=True)
    else:
        catalog = work / "domains.toml"
        catalog.write_text(f'{DEMO}[[pairs]]\nsource = "books"\ntarget = "movies"\n')
    return catalog, load_catalog(catalog).pairs[0].key


def _cut(file: Path, copies: int) -> None:
    """Replace a file by a folder of smaller ones, since a task reads a whole file; copies of a person have ids of their
    own."""
    folder = file.with_name(file.name.removesuffix(".json.gz"))
    folder.mkdir()
    with gzip.open(file) as whole:
        lines = whole.readlines()
    for part in range(FILES):
        with gzip.open(folder / f"{part}.json.gz", "wb", 1) as cut:
            for copy in range(copies):
                cut.writelines(line.replace(PERSON, PERSON + b"%d-" % copy, 1) for line in lines[part::FILES])
    file.unlink()


def backfill(home: Path, catalog: Path, most: int, executors: int = 0, block: int = 0) -> Watched:
    """Run ``ptupcdr backfill`` and watch it; on DuckDB if there are no executors.

    Raises:
        CalledProcessError: it failed; what it printed is in ``backfill.out`` of the home.
    """
    logs, watched = home / "spark_logs", Watched()
    logs.mkdir(parents=True)
    (logs / "spark-defaults.conf").write_text(CONF.format(folder=logs))
    cluster = {"SPARK_CONF_DIR": str(logs), "PTUPCDR_SPARK": f"local-cluster[{executors},1,1024]"}
    environment = os.environ | _named(home, catalog) | cluster | {"SPARK_LOCAL_IP": "127.0.0.1"}
    start = time.perf_counter()
    with (home / "backfill.out").open("wb") as out:
        command = [sys.executable, "-c", IN_BLOCKS.format(block=block)] if executors else [str(COMMAND)]
        process = subprocess.Popen(
            [*command, "backfill", "--most-ratings", str(most)], env=environment, stdout=out, stderr=out
        )
        _watch(process, watched)
    watched.seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, [str(COMMAND), "backfill"], str(home / "backfill.out"))
    watched.assets = _assets(home)
    watched.shuffled = sum(map(_shuffled, logs.rglob("events_*")))
    return watched


def _named(home: Path, catalog: Path) -> dict[str, str]:
    return {"PTUPCDR_HOME": str(home), "PTUPCDR_CATALOG": str(catalog)}


def _watch(process: "subprocess.Popen[bytes]", watched: Watched) -> None:
    seen: dict[tuple[int, float], tuple[str, float]] = {}
    own = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for one, who in _programs(own):
                used = one.cpu_times()
                seen[one.pid, one.create_time()] = who, used.user + used.system
            total = sum(seconds for _, seconds in seen.values())
            watched.samples.append((time.time(), own.memory_info().rss, total))
        except psutil.NoSuchProcess:  # it has just ended
            pass
        time.sleep(0.5)
    for who, seconds in seen.values():
        watched.processor[who] = watched.processor.get(who, 0.0) + seconds


def _programs(own: psutil.Process) -> list[tuple[psutil.Process, str]]:
    """The program and its child processes, with a name: children of the driver's Java are executors."""
    found = [(own, "driver's Python")]
    for java in own.children():
        if java.name() == "java":
            found += [(java, "driver's Java"), *((one, "executors") for one in java.children(recursive=True))]
    return found


def _assets(home: Path) -> dict[str, tuple[float, float]]:
    """When each asset was made, from Dagster's records; ``raw_ratings`` lasts from the first domain to the last."""
    instance = DagsterInstance.from_config(str(home / "dagster"))
    found: dict[str, tuple[float, float]] = {}
    for run in reversed([*instance.get_runs()]):
        for step in instance.get_run_step_stats(run.run_id):
            if step.start_time and step.end_time:
                begun = found.get(step.step_key, (step.start_time,))[0]
                found[step.step_key] = begun, step.end_time
    return dict(sorted(found.items(), key=lambda entry: entry[1]))


def _shuffled(log: Path) -> int:
    events = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    metrics = (event.get("Task Metrics") or {} for event in events if event["Event"] == "SparkListenerTaskEnd")
    return sum(found.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0) for found in metrics)


def commands(pair: str, *homes: tuple[Path, Path]) -> bool:
    """Whether commands that read a home print the same; lines that differ are shown."""
    with Warehouse(Home(homes[0][0]).warehouse).read("recommendations", pair) as connection:
        [(user,)] = connection.execute("select min(user_id) from recommendations").fetchall()
    same = True
    for words in (["evaluate", pair], ["recommend", pair, user]):
        first, second = (
            subprocess.run(
                [COMMAND, *words], env=os.environ | _named(*home), check=True, capture_output=True, text=True
            ).stdout.splitlines()
            for home in homes
        )
        same &= first == second
        print(f"{'  ' if first == second else '! '}ptupcdr {' '.join(words)}: {len(first)} and {len(second)} lines")
        for one, other in zip(first, second, strict=False):
            if one != other:
                print(f"    {one}\n    {other}")
    return same


if __name__ == "__main__":
    main()
