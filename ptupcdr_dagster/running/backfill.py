"""The backfill without a daemon: domains first, then pairs, only what is not up to date, one run per partition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from ptupcdr_core.catalog import Pair
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.jobs import BRIDGE_PAIR, INGEST_DOMAIN
from ptupcdr_dagster.resources import run_config
from ptupcdr_dagster.running.freshness import RAW
from ptupcdr_dagster.running.partition import Finding, Listener, Report, Work, run_partition
from ptupcdr_dagster.running.planning import look_at, wanted
from ptupcdr_dagster.running.side_by_side import run_side_by_side

Plan = dict[tuple[str, str], list[str]]
"""Assets to make, by job and partition."""


@dataclass(frozen=True)
class Backfill:
    """Makes the partitions that are not up to date under the given settings.

    Args:
        instance: Where the runs are recorded.
        home: Where generated state lives.
        settings: What every run uses.
        force: Make everything again, up to date or not.
        listener: Told of every asset's progress.
        job: What is run for each pair.
        assets_config: Configuration for single assets of the job, by key.
        workers: How many pairs are run at a time, the cores divided among them.
    """

    instance: dg.DagsterInstance
    home: Home
    settings: Settings
    force: bool = False
    listener: Listener = lambda partition, asset, state: None
    job: str = BRIDGE_PAIR
    assets_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    workers: int = 1

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Assets to make, by (job, partition), in the order of the runs; a partition without assets is up to date.

        What depends on something that is to be made is planned too, and is kept if that comes out unchanged.

        Raises:
            SourceError: never; a domain whose files are missing is planned, and fails in its own run.
        """
        # The report of several sources also shows those of its single pairs, which therefore come first.
        pairs = sorted(pairs, key=lambda pair: len(pair.sources))
        domains = sorted({domain for pair in pairs for domain in pair.domains})
        jobs = [(INGEST_DOMAIN, domain) for domain in domains] + [(self.job, pair.key) for pair in pairs]
        freshness = look_at(self.instance, self.home, self.settings, self.job)
        return {(job, partition): wanted(freshness, job, partition, force=self.force) for job, partition in jobs}

    def run(self, pairs: Sequence[Pair], plan: Plan) -> Iterator[tuple[str, Report]]:
        """Carry out a plan; yield each finished partition's key with the report so far.

        A failure stops only its own pair, Ctrl-C stops all. Where another backfill is making a partition, this one
        waits, and then looks again what is left to do.
        """
        report = Report()
        needs = {pair.key: pair.domains for pair in pairs}
        domains = {key: assets for key, assets in plan.items() if key[0] == INGEST_DOMAIN}
        for partition, found in self._carry_out(domains, workers=1):
            report.add(found)
            yield partition, report
        if report.interrupted:
            return
        runnable = {}
        for (job, partition), assets in plan.items():
            broken = [domain for domain in needs.get(partition, ()) if job == self.job and report.failed(domain)]
            if broken:
                message = f"not run, since {RAW} of {' and '.join(broken)} failed"
                report.failures.append(Finding(partition, assets[0] if assets else "all assets", message))
                yield partition, report
            elif job == self.job:
                runnable[job, partition] = assets
        for partition, found in self._carry_out(runnable, self.workers):
            report.add(found)
            yield partition, report

    def _carry_out(self, plan: Plan, workers: int) -> Iterator[tuple[str, Report]]:
        """Run partitions that do not depend on each other; yield each one's key and its own report."""
        waiting = []
        for (job, partition), assets in plan.items():
            if assets:
                config = run_config(self.settings, **(self.assets_config if job == self.job else {}))
                waiting.append(Work(job, partition, self.settings, config, self.force))
            else:
                yield partition, Report(up_to_date=[partition])
        if min(workers, len(waiting)) > 1:
            yield from run_side_by_side(self.home, waiting, workers, self.listener)
            return
        for work in waiting:
            report = run_partition(work, self.instance, self.home, self.listener)
            yield work.partition, report
            if report.interrupted:
                return

    def ingest(self, pair: Pair) -> Report:
        """Make only the raw ratings of a pair's domains, where they are not up to date."""
        plan = {(job, domain): assets for (job, domain), assets in self.plan([pair]).items() if job == INGEST_DOMAIN}
        return [report for _, report in self.run([pair], plan)][-1]
