"""The bar of a backfill: it counts assets, weighs them by the seconds that they take, and shows the time left."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

TYPICAL_SECONDS = {
    "raw_ratings": 5,
    "domain_splits": 4,
    "source_model": 10,
    "target_model": 3,
    "meta_network": 10,
    "bridged_embeddings": 2,
    "cold_start_evaluation": 2,
    "fine_tuned_embeddings": 3,
    "champion": 3,
    "deployed_model": 2,
    "warm_start_evaluation": 4,
    "recommendations": 10,
    "pair_report": 5,
}
"""Seconds that an asset takes with some millions of ratings; used for one that was never made."""
TRUST = 10.0
"""Seconds of work after which the measured pace counts as much as the expected one."""


def expected_seconds(instance: dg.DagsterInstance, asset: str, partition: str) -> float:
    """What an asset partition took when it was last made, else what it typically takes."""
    newest = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition])
    for record in instance.fetch_materializations(newest, limit=1).records:
        for step in instance.get_run_step_stats(record.run_id, [asset]):
            if step.start_time and step.end_time:
                return step.end_time - step.start_time
    return float(TYPICAL_SECONDS.get(asset, 1))


def open_progress(console: Console) -> Progress:
    """Bars, shown on a terminal only; a task's fields are ``count`` and, for `TimeLeft`, ``left`` and ``at``."""
    columns = (
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TimeLeft(table_column=Column(no_wrap=True)),
        Doing(),
    )
    return Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        # Otherwise rich would show here what is written to sys.stdout and sys.stderr, which goes to the log.
        redirect_stdout=False,
        redirect_stderr=False,
    )


class TimeLeft(ProgressColumn):
    """Counts down from ``left`` seconds, estimated when ``at`` seconds had passed; empty if ``left`` is None."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """The time left in hours, minutes and seconds."""
        left = task.fields.get("left")
        if left is None:
            return Text("")
        passed = (task.elapsed or 0.0) - task.fields.get("at", 0.0)
        return Text(f"{timedelta(seconds=max(0, round(left - passed)))} left")


class Doing(ProgressColumn):
    """What is being made, cut at the end of the line, so that the numbers before it stay whole and on one line."""

    def render(self, task: Task) -> Text:
        """The description."""
        return Text(task.description, no_wrap=True, overflow="ellipsis")


@dataclass
class WorkBar:
    """The bar of all assets that are to be made; checks do not advance it.

    Args:
        progress: Where it is shown.
        bar: Its task.
        waiting: Expected seconds of what is still to be made, by partition and asset.
        timed: Whether to show the time left.
        total: Expected seconds of everything.
        assets: How many assets there are.
        made: How many of them are made.
    """

    progress: Progress
    bar: TaskID
    waiting: dict[tuple[str, str], float]
    timed: bool
    total: float = field(init=False)
    assets: int = field(init=False)
    made: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self.total, self.assets = sum(self.waiting.values()), len(self.waiting)
        self.progress.reset(self.bar, total=self.total, left=self.total if self.timed else None, count=self._count())

    def hear(self, partition: str, asset: str, state: str) -> None:
        """Show what is happening to an asset or its checks, and advance when an asset is done."""
        self.progress.update(self.bar, description=f"{partition} {asset}")
        if state == "done" and self.waiting.pop((partition, asset), None) is not None:
            self.made += 1
            self._advance()

    def end(self, partition: str) -> None:
        """Drop what is left of a partition whose run has ended."""
        self.waiting = {key: seconds for key, seconds in self.waiting.items() if key[0] != partition}
        self._advance()

    def _advance(self) -> None:
        left = sum(self.waiting.values())
        done = self.total - left
        elapsed = self.progress.tasks[self.progress.task_ids.index(self.bar)].elapsed or 0.0
        shown: dict[str, Any] = {"count": self._count()}
        if self.timed:
            shown |= {"left": left * (elapsed + TRUST) / (done + TRUST), "at": elapsed}
        self.progress.update(self.bar, completed=done, **shown)

    def _count(self) -> str:
        return f"{self.made}/{self.assets}"
