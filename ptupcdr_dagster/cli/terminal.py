"""Backfill, benchmark and search on a terminal: a bar, one line per partition, and a log file for all the rest."""

import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID
from sqlalchemy.exc import DatabaseError

from ptupcdr_core.catalog import Catalog, Pair
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import writing
from ptupcdr_dagster.assets.benchmark import ON_CELL
from ptupcdr_dagster.cli.printing import say
from ptupcdr_dagster.cli.progress import WorkBar, expected_seconds, open_progress
from ptupcdr_dagster.cli.tracking import server_looked_after
from ptupcdr_dagster.jobs import BENCHMARK_PAIR, SCORE_PAIR
from ptupcdr_dagster.running.backfill import Backfill
from ptupcdr_dagster.running.instance import open_instance
from ptupcdr_dagster.running.partition import INTERRUPTED, WAITING, Finding, Report
from ptupcdr_dagster.running.tidying import Tidied, tidy
from ptupcdr_dagster.tracking.stores import store_fails

if TYPE_CHECKING:
    import pandas as pd

    from ptupcdr_core.experiments.benchmark import Progress as CellProgress
    from ptupcdr_core.experiments.grid import Grid
    from ptupcdr_core.experiments.search import Progress as TrialProgress
    from ptupcdr_core.experiments.search import Search


def run_backfill(home: Home, pairs: Sequence[Pair], settings: Settings, *, force: bool, workers: int) -> Report:
    """Run a backfill; show its progress on standard error, and at the end what failed and why."""

    def make(instance: dg.DagsterInstance, progress: Progress) -> Backfill:
        return Backfill(instance, home, settings, force, workers=workers)

    return _run(home, pairs, make, "backfill")


def run_score(home: Home, pairs: Sequence[Pair], settings: Settings, *, force: bool, workers: int) -> Report:
    """Make tonight's lists in the same way: ingest ratings that changed, train nothing."""

    def make(instance: dg.DagsterInstance, progress: Progress) -> Backfill:
        return Backfill(instance, home, settings, force, job=SCORE_PAIR, workers=workers)

    return _run(home, pairs, make, "score")


def run_benchmark(home: Home, pairs: Sequence[Pair], settings: Settings, grid: "Grid", *, workers: int) -> Report:
    """Run a benchmark in the same way, with a bar for each pair that counts cells and shows the time left."""
    varied = grid.model_dump(mode="json") | {"methods": list(grid.methods or ()), "workers": workers, "measure": True}

    def make(instance: dg.DagsterInstance, progress: Progress) -> Backfill:
        ON_CELL.set(_Cells(progress))
        return Backfill(instance, home, settings, job=BENCHMARK_PAIR, assets_config={"benchmark": varied})

    return copy_context().run(_run, home, pairs, make, "benchmark")


def run_search(
    home: Home, pair: Pair, settings: Settings, *, objective: Mode, trials: int, timeout: float | None
) -> "Search | None":
    """Run a search for settings with one line per trial; None if the ratings that it needs could not be made."""
    from ptupcdr_dagster.cli.tuning import search

    log = log_file(home, "tune")
    with everything_else_to(log) as console, _opened(home, console) as instance:
        report = Backfill(instance, home, settings).ingest(pair)
        if report.failures:
            _print_failures(console, report, log)
            return None
        tell = functools.partial(_print_trial, console)
        return search(home, pair, settings, tell, objective=objective, trials=trials, timeout=timeout)


def run_prune(home: Home, catalog: Catalog, older_than: float, *, dry_run: bool) -> None:
    """Throw away what is old, with one line for each kind of thing, and say how much space that freed."""
    from ptupcdr_dagster.running.pruning import Prune, days_ago, held

    with everything_else_to(log_file(home, "prune")) as console, _opened(home, console) as instance:
        before = sum(size for _, _, size in held(home, instance))
        for what, count in Prune(home, instance, catalog, days_ago(older_than), dry_run=dry_run).run().items():
            say(console, f"{'would throw away' if dry_run else 'threw away'} {count} {what}")
        freed = before - sum(size for _, _, size in held(home, instance))
        if not dry_run:
            say(console, f"{freed / 1e6:.1f} MB less")


def _print_trial(console: Console, told: "TrialProgress") -> None:
    trial, best, left = told.trial, told.best, told.seconds_left
    result = " ".join(f"{name} {value:.4f}" for name, value in trial.metrics.items()) or "diverged"
    chosen = " ".join(f"{name}={_short(value)}" for name, value in trial.chosen.items())
    parts = [f"{told.done} of {told.total}: {result}", f"best is trial {best.number}" if best else "none is best yet"]
    parts += [f"{timedelta(seconds=round(left))} left"] if left is not None else ["from an earlier search"]
    say(console, f"{', '.join(parts)}; {chosen}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass
class _Cells:
    """A bar for the cells of the pair that is running."""

    progress: Progress
    bar: TaskID | None = None

    def __call__(self, cells: "CellProgress") -> None:
        if self.bar is None:
            self.bar = self.progress.add_task("", total=cells.total, count="")
        row = cells.rows.iloc[0]
        [elapsed] = [task.elapsed or 0.0 for task in self.progress.tasks if task.id == self.bar]
        self.progress.update(
            self.bar,
            completed=cells.done,
            count=f"{cells.done}/{cells.total}",
            left=cells.seconds_left,
            at=elapsed,
            description=f"β {row['beta']:g} seed {row['seed']} {_trained(row)}",
        )
        if cells.done == cells.total:
            self.progress.remove_task(self.bar)
            self.bar = None


def _trained(row: "pd.Series[Any]") -> str:
    return "lists" if row["mode"] == "ranking" else f"{row['base_model']} {row['method']}"


Maker = Callable[[dg.DagsterInstance, Progress], Backfill]


def _run(home: Home, pairs: Sequence[Pair], make: Maker, name: str) -> Report:
    # The libraries make a million objects that live to the end. With Python's defaults, the garbage collector searches
    # them again and again, which takes a tenth of a small backfill's processor time.
    gc.set_threshold(100_000, 20, 50)
    log = log_file(home, name)
    with everything_else_to(log) as console, _opened(home, console) as instance, open_progress(console) as progress:
        task = progress.add_task("looking for what is not up to date", total=None, count="")
        backfill = make(instance, progress)
        plan = backfill.plan(pairs)
        expected = {
            (partition, asset): expected_seconds(instance, asset, partition)
            for (_, partition), assets in plan.items()
            for asset in assets
        }
        # A benchmark shows the time left by its own cells; how many of them are finished is not known yet.
        bar = WorkBar(progress, task, expected, timed=backfill.job != BENCHMARK_PAIR)
        report = Report()

        def hear(partition: str, asset: str, state: str) -> None:
            if state == WAITING:
                say(console, f"waiting    {partition}: {asset} is making it")
            else:
                bar.hear(partition, asset, state)

        for partition, report in replace(backfill, listener=hear).run(pairs, plan):
            bar.end(partition)
            say(console, _line(partition, report), markup=True)
        _print_findings(console, "look at", "yellow", report.warnings)
        if report.failures:
            _print_failures(console, report, log)
    return report


@contextmanager
def _opened(home: Home, console: Console) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance, tidied up, and send what is kept for the MLflow server.

    Raises:
        StorageError: the store of runs cannot be used.
    """
    with open_instance(home) as instance, server_looked_after(home, console):
        try:
            tidied = tidy(home, instance)
            if tidied != Tidied():
                say(console, f"After processes that were killed: {tidied}")
            yield instance
        except DatabaseError as error:
            raise store_fails(error.orig) from error


def log_file(home: Home, name: str) -> Path:
    """The log file of a command that starts now."""
    return home.root / "logs" / f"{name}-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"


def _line(partition: str, report: Report) -> str:
    if report.failed(partition):
        return f"[red]failed[/]     {partition}"
    if partition in report.up_to_date:
        return f"[green]up to date[/] {partition}"
    return f"[green]made[/]       {partition}: {', '.join(report.made[partition])} in {report.seconds[partition]:.0f} s"


def _print_failures(console: Console, report: Report, log: Path) -> None:
    if report.interrupted:
        say(console, f"ptupcdr: {INTERRUPTED}")
    else:
        _print_findings(console, "failed", "red", report.failures)
    say(console, f"The whole log: {log}")


def _print_findings(console: Console, title: str, colour: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        message = " ".join(finding.message.split())
        say(console, f"[{colour}]{title}[/] {finding.partition} {finding.asset}: {escape(message)}", markup=True)


@contextmanager
def everything_else_to(log: Path) -> Iterator[Console]:
    """A console on the present standard error, while all other output of this process goes to the log file.

    The file descriptors themselves are redirected: Dagster, MLflow's migrations and child processes write to them.
    """
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with log.open("a") as file, os.fdopen(os.dup(2), "w") as terminal:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield Console(file=terminal, width=None if terminal.isatty() else 160)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
