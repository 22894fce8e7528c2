"""SIGKILLs of `dagster asset materialize` under the multiprocess executor: no step goes on without its run.

``python tests/attack/executor.py --kills 20 FOLDER``.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ground import PAIR, Ground, backfill, held, left_over, readable

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import leftovers, remove

CHANCE = random.Random(12)


def attack(ground: Ground, kills: int) -> dict[str, object]:
    """Kill runs of a pair's assets, evenly from their start to their end, and let a backfill go on."""
    home, first = ground.home("executor"), ground.home("undisturbed")
    assert backfill(first, ground.settings(), [PAIR]).failures == []
    shutil.copytree(first.root, home.root)
    began = time.monotonic()
    assert _start(first, ground).wait() == 0
    lasted, expected, done = time.monotonic() - began, held(first), 0
    for number in range(kills):
        process = _start(home, ground)
        time.sleep(lasted * (number + CHANCE.random()) / kills)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            done += 1
        process.wait()
        orphans = _orphans(process.pid)
        assert not orphans, f"still at work: {orphans}"
        found = held(home)
        assert all(found[key] == expected[key] for key in found if key[0] != "champion"), "half a table"
        readable(home)
    told = backfill(home, ground.settings(), [PAIR])
    assert told.failures == [], told.failures
    for path in leftovers(home):
        remove(path)
    return {"kills": done, "tables": len(expected), **left_over(home)}


def _start(home: Home, ground: Ground) -> "subprocess.Popen[bytes]":
    settings = {"resources": {"settings": {"config": ground.settings()}}}
    environment = os.environ | {
        "PTUPCDR_HOME": str(home.root),
        "PTUPCDR_CATALOG": str(ground.catalog),
        "PTUPCDR_EXECUTOR": "multiprocess",
        "DAGSTER_HOME": str(home.dagster),
    }
    program = Path(sys.executable).with_name("dagster")
    command = [str(program), "asset", "materialize", "-m", "ptupcdr_dagster.definitions", "--partition", PAIR]
    command += ["--select", 'key:"domain_splits"*', "--config-json", str(settings).replace("'", '"')]
    # A group of its own, by which those that it leaves behind are found.
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _orphans(group: int) -> list[str]:
    """Processes of a killed run that are still at work after ten seconds."""
    import psutil

    left: list[str] = []
    for _ in range(100):
        left = []
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(" ".join(process.cmdline())[:100])
            except (psutil.Error, ProcessLookupError):
                continue
        if not left:
            break
        time.sleep(0.1)
    return left


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--mode", choices=["both", "rating"], default="both")
    asked = parser.parse_args()
    ground, began = Ground.prepare(asked.folder, [("books", "movies")], asked.mode), time.monotonic()
    print(f"executor: {attack(ground, asked.kills)} in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
