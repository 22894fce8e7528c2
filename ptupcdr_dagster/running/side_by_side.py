"""Several partitions of a backfill at once, each in its own process, forked from one that has all modules loaded."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from sqlalchemy.exc import DatabaseError

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.running.executors import PRELOADED
from ptupcdr_dagster.running.instance import open_instance
from ptupcdr_dagster.running.interrupts import send_lost_interrupts_again
from ptupcdr_dagster.running.partition import INTERRUPTED, Finding, Listener, Report, Work, run_partition
from ptupcdr_dagster.running.turns import end_with_parent
from ptupcdr_dagster.tracking.stores import store_fails


def run_side_by_side(
    home: Home, work: Sequence[Work], workers: int, listener: Listener
) -> Iterator[tuple[str, Report]]:
    """Run partitions that do not depend on each other; yield each one's key and report.

    Ctrl-C reaches all processes: what runs ends as interrupted, and nothing more is started. If a process ends without
    a report, as when the system kills it for lack of memory, only its own partition fails.

    Args:
        home: where generated state lives; each process opens the Dagster instance anew.
        work: in the order in which it is started.
        workers: how many at a time; the cores are divided among them.
        listener: called in this process with every asset's progress in the others.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    threads = max(1, (os.cpu_count() or 1) // workers)
    waiting, running = list(work), dict[Connection, tuple[Work, BaseProcess]]()

    def interrupt(_signal: int, _frame: object) -> None:
        waiting.clear()
        for _, process in running.values():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                here, there = context.Pipe(duplex=False)
                arguments = (home, waiting[0], threads, dict(os.environ), there)
                process: BaseProcess = context.Process(target=_run, args=arguments, daemon=True)
                process.start()
                there.close()
                running[here] = waiting.pop(0), process
            for connection in (ready for ready in wait(list(running)) if isinstance(ready, Connection)):
                told = _read(connection)
                if isinstance(told, tuple):
                    listener(*told)
                    continue
                done, process = running.pop(connection)
                process.join()
                yield done.partition, told or _left_none(done, process.exitcode)
    finally:
        signal.signal(signal.SIGINT, before)


def _read(connection: Connection) -> tuple[str, str, str] | Report | None:
    """A process's next progress for the listener, or its report; None if it ended without one."""
    try:
        told: tuple[str, str, str] | Report = connection.recv()
    except EOFError:
        return None
    return told


def _left_none(work: Work, exit_code: int | None) -> Report:
    why = f"its process ended without a report (exit code {exit_code})"
    if exit_code == -signal.SIGKILL:
        why += "; the system kills what takes too much memory: set PTUPCDR_MEMORY_LIMIT, or run fewer pairs at a time"
    return Report(failures=[Finding(work.partition, "run", why)])


def _run(home: Home, work: Work, threads: int, environment: dict[str, str], connection: Connection) -> None:
    """Run one partition in this process; send progress and report through the connection."""
    import numba
    import torch

    os.environ.clear()  # the fork server still has the environment of its own start
    os.environ.update(environment)
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    torch.set_num_threads(threads)
    os.environ.setdefault("PTUPCDR_THREADS", str(threads))
    send_lost_interrupts_again()
    end_with_parent()
    try:
        with open_instance(home) as instance:
            connection.send(run_partition(work, instance, home, lambda *news: connection.send(news)))
    except (PtupcdrError, DatabaseError) as error:
        told = store_fails(error.orig) if isinstance(error, DatabaseError) else error
        connection.send(Report(failures=[Finding(work.partition, "run", str(told))]))
    except KeyboardInterrupt:
        connection.send(Report(failures=[Finding(work.partition, "run", INTERRUPTED)]))
