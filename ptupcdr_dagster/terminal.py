"""The backfill as seen on a terminal: a bar, a line a partition, and a log file for all the rest."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ptupcdr_core.catalog import Pair
from ptupcdr_core.home import Home
from ptupcdr_core.settings import Settings
from ptupcdr_dagster.backfill import Backfill, Finding, Report
from ptupcdr_dagster.instance import open_instance


def run_backfill(home: Home, pairs: Sequence[Pair], settings: Settings, *, force: bool) -> Report:
    """Run a backfill, showing its progress on standard error and ending with what failed and why."""
    log = home.root / "logs" / f"backfill-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    with open_instance(home) as instance, _everything_else_to(log) as console, _progress(console) as progress:
        bar = progress.add_task("looking for what is not up to date", total=None)

        def listen(partition: str, asset: str, state: str) -> None:
            progress.update(bar, description=f"{partition} {asset}", advance=state == "done" and asset in assets)

        backfill = Backfill(instance, home, settings, force, listen)
        plan = backfill.plan(pairs)
        assets = {asset for planned in plan.values() for asset in planned}
        progress.update(bar, total=sum(len(planned) for planned in plan.values()))
        report, started = Report(), time.monotonic()
        for partition, report in backfill.run(pairs, plan):
            console.print(_line(partition, report, time.monotonic() - started))
            started = time.monotonic()
        progress.update(bar, description="done")
        _print_findings(console, "look at", "yellow", report.warnings)
        _print_findings(console, "failed", "red", report.failures)
        if report.failures:
            console.print(f"The whole log: {log}", highlight=False, soft_wrap=True)
    return report


def _line(partition: str, report: Report, seconds: float) -> str:
    if report.failed(partition):
        return f"[red]failed[/]     {partition}"
    if partition in report.up_to_date:
        return f"[green]up to date[/] {partition}"
    return f"[green]made[/]       {partition}: {', '.join(report.made[partition])} in {seconds:.0f} s"


def _print_findings(console: Console, title: str, colour: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        message = " ".join(finding.message.split())
        line = f"[{colour}]{title}[/] {finding.partition} {finding.asset}: {escape(message)}"
        console.print(line, highlight=False, soft_wrap=True)


def _progress(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


@contextmanager
def _everything_else_to(log: Path) -> Iterator[Console]:
    """A console on standard error as it is now, while all other output of this process goes to the log file.

    The descriptors themselves are turned round: Dagster, MLflow's migrations and its own children write to them.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
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
