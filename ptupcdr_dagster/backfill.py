"""The backfill without a daemon: domains first, then pairs, only what is not up to date, one run a partition."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

from ptupcdr_core.catalog import Pair
from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.home import Home
from ptupcdr_core.settings import Settings
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.freshness import RAW, Freshness
from ptupcdr_dagster.jobs import BENCHMARK_PAIR, BRIDGE_PAIR, INGEST_DOMAIN
from ptupcdr_dagster.resources import run_config

INTERRUPTED = "interrupted; what is finished stays, and the next call goes on from there"
Listener = Callable[[str, str, str], None]
"""Told of (partition, asset, what happens): ``started``, ``done`` or ``failed``."""


@dataclass(frozen=True)
class Finding:
    """What went wrong, or deserves a look, in one asset partition."""

    partition: str
    asset: str
    message: str


@dataclass
class Report:
    """What a backfill did; partitions in the order of their runs."""

    made: dict[str, list[str]] = field(default_factory=dict)
    up_to_date: list[str] = field(default_factory=list)
    failures: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def failed(self, partition: str) -> bool:
        """Whether something of the partition failed."""
        return any(finding.partition == partition for finding in self.failures)

    def stands(self, partition: str) -> bool:
        """Whether the partition was made or was up to date, without a failure."""
        return not self.failed(partition) and (partition in self.made or partition in self.up_to_date)


@dataclass(frozen=True)
class Backfill:
    """Makes the partitions that are not up to date under the given settings.

    Attributes:
        instance: Where the runs are recorded.
        home: Where generated state lives.
        settings: What every run uses.
        force: Make everything again, up to date or not.
        listener: Told of every asset's progress.
        job: What is run for each pair.
        assets_config: Own configuration of the job's assets, by key.
    """

    instance: dg.DagsterInstance
    home: Home
    settings: Settings
    force: bool = False
    listener: Listener = lambda partition, asset, state: None
    job: str = BRIDGE_PAIR
    assets_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def plan(self, pairs: Sequence[Pair]) -> dict[tuple[str, str], list[str]]:
        """Assets to make, by (job, partition), in the order of the runs; a partition of no assets is up to date.

        Raises:
            SourceError: never; a domain whose files are missing is planned, and fails in its own run.
        """
        domains = sorted({domain for pair in pairs for domain in (pair.source, pair.target)})
        jobs = [(INGEST_DOMAIN, domain) for domain in domains] + [(self.job, pair.key) for pair in pairs]
        freshness = self._freshness()
        return {
            (job, partition): [
                asset for asset in lineage(job) if self._always(job) or not _is_fresh(freshness, asset, partition)
            ]
            for job, partition in jobs
        }

    def run(self, pairs: Sequence[Pair], plan: dict[tuple[str, str], list[str]]) -> Iterator[tuple[str, Report]]:
        """Carry out a plan; after each partition, its key and the report so far.

        A failure stops only its own pair, Ctrl-C all.
        """
        report = Report()
        needs = {pair.key: (pair.source, pair.target) for pair in pairs}
        for (job, partition), assets in plan.items():
            broken = [domain for domain in needs.get(partition, ()) if job == self.job and report.failed(domain)]
            if broken:
                message = f"not run, since {RAW} of {' and '.join(broken)} failed"
                report.failures.append(Finding(partition, assets[0] if assets else "all assets", message))
            elif assets:
                self._run_partition(job, partition, assets, report)
            else:
                report.up_to_date.append(partition)
            yield partition, report
            if any(finding.message == INTERRUPTED for finding in report.failures):
                return

    def ingest(self, pair: Pair) -> Report:
        """Make the raw ratings of a pair's two domains, where they are not up to date, and nothing else."""
        plan = {(job, domain): assets for (job, domain), assets in self.plan([pair]).items() if job == INGEST_DOMAIN}
        return [report for _, report in self.run([pair], plan)][-1]

    def _run_partition(self, job: str, partition: str, assets: list[str], report: Report) -> None:
        run_id = str(uuid.uuid4())
        _listen(self.instance, run_id, lambda asset, state: self.listener(partition, asset, state))
        result = defs.resolve_job_def(job).execute_in_process(
            run_config=run_config(self.settings, **(self.assets_config if job == self.job else {})),
            instance=self.instance,
            partition_key=partition,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            run_id=run_id,
            raise_on_error=False,
            tags={"ptupcdr/backfill": "command line"},
        )
        report.made[partition] = [m.asset_key.to_user_string() for m in result.get_asset_materialization_events()]
        report.failures += _failures(partition, result)
        report.warnings += _check_findings(partition, result, dg.AssetCheckSeverity.WARN)

    def _always(self, job: str) -> bool:
        # A benchmark knows its own finished cells.
        return self.force or job == BENCHMARK_PAIR

    def _freshness(self) -> Freshness:
        checks: dict[str, list[dg.AssetCheckKey]] = {}
        for definition in defs.asset_checks or []:
            for spec in definition.check_specs:
                if spec.blocking:
                    checks.setdefault(spec.asset_key.to_user_string(), []).append(spec.key)
        return Freshness(self.instance, self.home, self.settings, _definitions(), checks)


def lineage(job: str) -> list[str]:
    """The assets of a job, upstream first."""
    selected = defs.resolve_job_def(job).asset_layer.selected_asset_keys
    return [asset for asset in _definitions() if dg.AssetKey(asset) in selected]


def _definitions() -> dict[str, dg.AssetsDefinition]:
    # definitions.py lists them upstream first.
    return {a.key.to_user_string(): a for a in defs.assets or [] if isinstance(a, dg.AssetsDefinition)}


def _is_fresh(freshness: Freshness, asset: str, partition: str) -> bool:
    try:
        return freshness.is_fresh(asset, partition)
    except PtupcdrError:
        # What cannot even be fingerprinted is made again, and says in its own run what is wrong.
        return False


def _listen(instance: dg.DagsterInstance, run_id: str, listener: Callable[[str, str], None]) -> None:
    states = {
        dg.DagsterEventType.STEP_START: "started",
        dg.DagsterEventType.STEP_SUCCESS: "done",
        dg.DagsterEventType.STEP_FAILURE: "failed",
    }

    def hear(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is not None and event.event_type in states and event.step_key is not None:
            listener(event.step_key, states[event.event_type])

    instance.add_event_listener(run_id, hear)


def _failures(partition: str, result: dg.ExecuteInProcessResult) -> list[Finding]:
    findings = _check_findings(partition, result, dg.AssetCheckSeverity.ERROR)
    explained = {f"{finding.asset}_checks" for finding in findings}
    for event in result.all_events:
        if event.is_step_failure and event.step_key not in explained:
            findings.append(Finding(partition, str(event.step_key), _reason(event.step_failure_data.error)))
    if not findings and not result.success:
        errors = [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
        findings.append(Finding(partition, "run", _reason(errors[0] if errors else None)))
    return findings


def _check_findings(
    partition: str, result: dg.ExecuteInProcessResult, severity: dg.AssetCheckSeverity
) -> list[Finding]:
    return [
        Finding(partition, found.asset_key.to_user_string(), f"{found.check_name}: {found.description}")
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.severity == severity
    ]


def _reason(error: SerializableErrorInfo | None) -> str:
    """The innermost cause's message, without the name of the exception's module."""
    if error is None:
        return "failed without an error"
    if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        return INTERRUPTED
    while error.cause is not None:
        error = error.cause
    kind, _, message = error.message.strip().partition(": ")
    return f"{kind.rsplit('.', 1)[-1]}: {message}" if message else error.message.strip()
