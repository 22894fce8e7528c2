"""Commands in separate processes, forked from one that has all modules loaded, so that starting them again is cheap."""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.exc import DatabaseError

from ptupcdr_core.store.home import Home

PAIR = "books__movies"
CONTEXT = multiprocessing.get_context("forkserver")
TRIALS = 6
GRID = {"betas": [0.2], "base_models": ["mf"], "methods": ["item_mean", "tgt", "emcdr"], "recipes": ["honest"]}
CELLS = 6
Steps = list[tuple[str, str, float]]
"""Progress reports: name, state, and the second at which the report arrived."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        failures: The failures that it reported; None if it was killed or reported nothing.
        steps: Its progress; a name is an asset, or the number of cells or trials done.
        at: The second at which it ended.
        pid: Its process id, and the id of its session.
        used: Processor seconds and peak memory in MB; empty if it was killed.
        killed: Whether it was killed.
    """

    failures: list[str] | None
    steps: Steps
    at: float
    pid: int
    used: dict[str, float]
    killed: bool

    @property
    def at_work(self) -> str:
        """The asset that was last being made or checked."""
        started = (name for name, state, _ in reversed(self.steps) if state == "started")
        return next(started, "the start").removesuffix("_checks")

    @property
    def units(self) -> int:
        """How many cells or trials were done."""
        return max((int(name) for name, _, _ in self.steps if name.isdigit()), default=0)


Watch = Callable[[str, str], float | None]
"""Called with the name and state of each report; returns in how many seconds at most to kill the process, or None."""


def unwatched(_name: str, _state: str) -> None:
    """Never kill."""


def backfill(
    home: Home, settings: dict[str, Any], pairs: list[str], watch: Watch = unwatched, *, user: int | None = None
) -> Ended:
    """A backfill, run by this user of the system or by another one."""
    return _watched(_backfill, (home, settings, pairs, user), watch)


def benchmark(home: Home, settings: dict[str, Any], watch: Watch = unwatched) -> Ended:
    """A benchmark of six cells; after each it reports how many are done, restored ones included."""
    return _watched(_benchmark, (home, settings), watch)


def search(home: Home, settings: dict[str, Any], watch: Watch = unwatched) -> Ended:
    """A search of six trials; after each, and once for the trials of earlier searches, it reports how many are done."""
    return _watched(_search, (home, settings), watch)


def materialize(home: Home, settings: dict[str, Any], asset: str, watch: Watch = unwatched) -> Ended:
    """Dagster's own command with the multiprocess executor, for an asset of the pair and everything downstream."""
    return _watched(_materialize, (home, settings, asset), watch)


def processor_seconds() -> float:
    """Processor seconds of this program and all its children so far."""
    every = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in every)


def _watched(function: Callable[..., None], arguments: tuple[Any, ...], watch: Watch) -> Ended:
    here, there = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=function, args=(*arguments, there))
    process.start()
    there.close()
    steps: Steps = []
    failures, kill_at = None, float("inf")
    used: dict[str, float] = {}
    while True:
        wait = max(0.0, kill_at - time.monotonic())
        try:
            news = here.recv() if here.poll(None if wait == float("inf") else wait) else None
        except EOFError:
            break
        if news is None:
            process.kill()
            break
        if isinstance(news, list):
            failures = news
            continue
        if isinstance(news, dict):
            used = news
            continue
        steps.append((*news, time.monotonic()))
        after = watch(*news)
        kill_at = min(kill_at, time.monotonic() + after) if after is not None else kill_at
    process.join()
    killed = process.exitcode == -signal.SIGKILL
    return Ended(None if killed else failures, steps, time.monotonic(), process.pid or 0, used, killed)


def still_at_work(session: int) -> list[str]:
    """Processes of a killed process's session that still run after two minutes (a starting one ends late)."""
    for _ in range(1200):
        left = [process for process in psutil.process_iter(["status", "cmdline"]) if _is_of(process, session)]
        if not left:
            return []
        time.sleep(0.1)
    return [" ".join(process.info["cmdline"] or ["?"])[:150] for process in left]


def _is_of(process: psutil.Process, session: int) -> bool:
    try:
        return process.info["status"] != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session
    except ProcessLookupError:
        return False


@contextmanager
def _reporting(home: Home, parent: Connection) -> Iterator[list[str]]:
    """In the forked process: discard its output; at the end, send what it used and its failures to the parent."""
    os.setsid()
    os.environ["PTUPCDR_HOME"] = str(home.root)
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    failures: list[str] = []
    try:
        yield failures
    except BaseException as error:
        # The attack must see every error: it accepts clear messages of ours, and nothing else.
        failures.append(f"{type(error).__name__}: {error}")
        raise
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = round(used.ru_utime + used.ru_stime, 1)
        parent.send({"processor seconds": seconds, "MB of memory": used.ru_maxrss // 1024})
        parent.send(failures)


def _backfill(home: Home, settings: dict[str, Any], pairs: list[str], user: int | None, parent: Connection) -> None:
    with _reporting(home, parent) as failures:
        if user is not None:
            os.setuid(user)
        failures += _run(home, settings, pairs, parent)


def _benchmark(home: Home, settings: dict[str, Any], parent: Connection) -> None:
    with _reporting(home, parent) as failures:
        from ptupcdr_dagster.assets.benchmark import ON_CELL
        from ptupcdr_dagster.jobs import BENCHMARK_PAIR

        parent.send(("0", "done"))
        ON_CELL.set(lambda progress: parent.send((str(progress.done), "done")))
        seeds = [settings["seed"], settings["seed"] + 100]
        config = {"benchmark": GRID | {"seeds": seeds, "workers": 1, "measure": True}}
        failures += _run(home, settings, [PAIR], parent, job=BENCHMARK_PAIR, assets_config=config)


def _run(home: Home, settings: dict[str, Any], pairs: list[str], parent: Connection, **options: Any) -> list[str]:
    """Run a backfill as ``ptupcdr backfill`` does; returns its failures."""
    from ptupcdr_core.settings import Settings
    from ptupcdr_dagster.partitions import CATALOG
    from ptupcdr_dagster.running.backfill import Backfill
    from ptupcdr_dagster.running.instance import open_instance
    from ptupcdr_dagster.running.tidying import tidy
    from ptupcdr_dagster.tracking.stores import store_fails

    chosen = [CATALOG.pair(key) for key in pairs]
    with open_instance(home) as instance:
        listener = lambda _part, *news: parent.send(news)  # noqa: E731 - too small for a name of its own
        made = Backfill(instance, home, Settings(**settings), listener=listener, **options)
        try:
            tidy(home, instance)
            *_, (_, report) = made.run(chosen, made.plan(chosen))
        except DatabaseError as error:
            raise store_fails(error.orig) from error
    return [f"{finding.asset}: {finding.message}" for finding in report.failures]


def _search(home: Home, settings: dict[str, Any], parent: Connection) -> None:
    with _reporting(home, parent):
        parent.send(("0", "done"))
        from ptupcdr_core.settings import Settings
        from ptupcdr_dagster.cli import tuning
        from ptupcdr_dagster.partitions import CATALOG
        from ptupcdr_dagster.running.instance import open_instance
        from ptupcdr_dagster.running.tidying import tidy

        with open_instance(home) as instance:
            tidy(home, instance)
        pair, heard = CATALOG.pair(PAIR), lambda progress: parent.send((str(progress.done), "done"))
        tuning.search(home, pair, Settings(**settings), heard, objective="rating", trials=TRIALS, timeout=None)


def _materialize(home: Home, settings: dict[str, Any], asset: str, parent: Connection) -> None:
    with _reporting(home, parent):
        os.environ["DAGSTER_HOME"] = str(home.dagster)
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        threading.Thread(target=_hear_steps, args=(reader, parent), daemon=True).start()
        config = str({"resources": {"settings": {"config": settings}}}).replace("'", '"')
        program = str(Path(sys.executable).with_name("dagster"))
        sys.argv = [program, "asset", "materialize", "-m", "ptupcdr_dagster.definitions", "--partition", PAIR]
        sys.argv += ["--select", f'key:"{asset}"+', "--config-json", config]
        runpy.run_path(program, run_name="__main__")


def _hear_steps(reader: int, parent: Connection) -> None:
    """Report the steps, which run in processes of their own and appear only in Dagster's log."""
    with os.fdopen(reader, errors="replace") as lines:
        for line in lines:
            for event, state in (("STEP_START", "started"), ("STEP_SUCCESS", "done")):
                before, found, _ = line.partition(f" - {event} - ")
                if found:
                    parent.send((before.rpartition(" - ")[2], state))
