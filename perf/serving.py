"""Load on ``ptupcdr serve`` over loopback: people per second, how long they wait, and the service's memory.

A pair of the demo is trained and its target domain enlarged; then several connections ask the service, each sending its
next request when the last one is answered. Half of the people are known by their id, half come with a history. Client
and service share the machine's cores, so the service alone would serve more people per second.
"""

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ptupcdr_core import Bundle, Home, deployed_bundle
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file
from ptupcdr_core.serving.today import Today

PAIR, PORT, K = "books__movies", 8765, 10
LOADS = ((1, 1), (4, 1), (2, 100))
"""Numbers of connections, and of people in a request."""
NOISE = 0.3
"""Noise of an invented item's vector, in standard deviations of the trained items' coordinates."""


def main() -> None:
    """Measure what the command line asks for, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[65_000, 1_000_000])
    parser.add_argument("--searches", nargs="+", default=["exact", "approximate"], choices=["exact", "approximate"])
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each load")
    parser.add_argument("--home", type=Path, help="a home with the trained pair, whose bundle is restored at the end")
    options = parser.parse_args()
    names = ["target items", "search", "ready after", "connections × people", "people/s", "processor/person"]
    print(f"| {' | '.join([*names, 'p50', 'p95', 'p99', 'memory'])} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="ptupcdr-load-") as folder:
        home = Home(options.home or Path(folder))
        if options.home is None:
            _program("backfill", PAIR, home=home).wait()
        trained = deployed_bundle(home, PAIR)
        users = Today.of(home, trained).users()["user_id"].to_pylist()
        try:
            for items in options.items:
                enlarged(trained, items).save(bundle_file(home, DEPLOYED, PAIR))
                for search in options.searches:
                    _measure(home, users, items, search, options.seconds)
        finally:
            trained.save(bundle_file(home, DEPLOYED, PAIR))


def enlarged(bundle: Bundle, items: int) -> Bundle:
    """The bundle with ``items`` target items, invented near its own, and without the sparse item map."""
    mode, served = bundle.mode()
    rng, target = np.random.default_rng(0), served.part.target
    near = rng.integers(1, len(target.offset), items + 1)
    noise = rng.standard_normal((items + 1, target.vectors.shape[1]), np.float32) * target.vectors.std(0) * NOISE
    larger = TargetItems(target.vectors[near] + noise, target.offset[near])
    lists = served.part.lists
    if lists is not None:
        joint = None if lists.joint is None else replace(lists.joint, target=lists.joint.target[near])
        lists = replace(lists, popularity=lists.popularity[near], joint=joint, item_map=None)
    ids = pa.array(["", *(f"item-{number:07d}" for number in range(items))])
    part = replace(served.part, target=larger, lists=lists)
    return replace(bundle, modes={mode: replace(served, part=part, target_ids=ids)})


def _measure(home: Home, users: list[str], items: int, search: str, seconds: float) -> None:
    started = time.perf_counter()
    with _serving(home, search) as process:
        ready = time.perf_counter() - started
        for connections, people in LOADS:
            _load(users, connections, people, seconds / 4)  # warm
            before = _processor(process.pid)
            count, waits = _load(users, connections, people, seconds)
            each = (_processor(process.pid) - before) / count * 1000
            p50, p95, p99 = np.percentile(waits, [50, 95, 99]) * 1000
            print(
                f"| {items:,} | {search} | {ready:.0f} s | {connections} × {people} | {count / seconds:.0f} "
                f"| {each:.1f} ms "
                f"| {p50:.0f} ms | {p95:.0f} ms | {p99:.0f} ms | {_peak_mb(process.pid):.0f} MB |",
                flush=True,
            )


def _load(users: list[str], connections: int, people: int, seconds: float) -> tuple[int, list[float]]:
    """How many people got answers, and how many seconds each request took."""
    ends = time.perf_counter() + seconds

    def ask(number: int) -> list[float]:
        chance, waits = random.Random(number), []
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=300)
        while time.perf_counter() < ends:
            body = json.dumps({"k": K, "people": [_person(chance, users) for _ in range(people)]})
            before = time.perf_counter()
            connection.request("POST", "/recommend", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the service answered {answer.status}")
            waits.append(time.perf_counter() - before)
        return waits

    with ThreadPoolExecutor(connections) as pool:
        waits = [wait for own in pool.map(ask, range(connections)) for wait in own]
    return len(waits) * people, waits


def _person(chance: random.Random, users: list[str]) -> dict[str, object]:
    if chance.random() < 0.5:
        return {"user_id": chance.choice(users)}
    rated = chance.sample(range(300), 20)
    return {"user_id": "new", "history": [{"item_id": f"books-{n:04d}", "rating": chance.randint(1, 5)} for n in rated]}


@contextmanager
def _serving(home: Home, search: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = _program("serve", PAIR, "--port", str(PORT), "--search", search, home=home)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError("the service did not start")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
                connection.request("GET", "/health")
                connection.getresponse().read()
                break
            except OSError:
                time.sleep(0.2)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _program(*arguments: str, home: Home) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PTUPCDR_HOME": str(home.root)}
    command = [sys.executable, "-m", "ptupcdr_dagster", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def _processor(process: int) -> float:
    """Processor seconds of a process so far; other programs on the machine change them less than waits."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
