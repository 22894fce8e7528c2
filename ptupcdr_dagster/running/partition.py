"""One partition's run in this process, and what it reports."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from sqlalchemy.exc import DatabaseError, OperationalError

from ptupcdr_core import errors as core_errors
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.owner import Owner
from ptupcdr_dagster.assets.stage import KEPT, UNLESS_UNCHANGED
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.running.planning import look_at, undecided, wanted
from ptupcdr_dagster.running.private import SerializableErrorInfo, listen
from ptupcdr_dagster.running.tidying import OWNER
from ptupcdr_dagster.running.turns import turn
from ptupcdr_dagster.tracking.stores import store_fails

INTERRUPTED = "interrupted; what is finished stays, and the next call goes on from there"
Listener = Callable[[str, str, str], None]
"""Called with (partition, asset, state), the state being ``started``, ``done`` or ``failed``; if another process is at
the partition, first with (partition, that process, ``waiting``)."""
WAITING = "waiting"
OURS = {kind.__name__ for kind in vars(core_errors).values() if isinstance(kind, type)}
"""Names of the project's own errors, which tell place and remedy; their causes do not."""


@dataclass(frozen=True)
class Finding:
    """A failure or a warning in one asset partition."""

    partition: str
    asset: str
    message: str


@dataclass
class Report:
    """What a backfill did, and how long each partition took; partitions in the order in which they finished."""

    made: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    up_to_date: list[str] = field(default_factory=list)
    failures: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def failed(self, partition: str) -> bool:
        """Whether something of the partition failed."""
        return any(finding.partition == partition for finding in self.failures)

    def stands(self, partition: str) -> bool:
        """Whether the partition was made or was up to date, without a failure."""
        return not self.failed(partition) and (partition in self.made or partition in self.up_to_date)

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped by Ctrl-C."""
        return any(finding.message == INTERRUPTED for finding in self.failures)

    def add(self, other: "Report") -> None:
        """Merge another report into this one."""
        self.made |= other.made
        self.seconds |= other.seconds
        self.up_to_date += other.up_to_date
        self.failures += other.failures
        self.warnings += other.warnings


@dataclass(frozen=True)
class Work:
    """What is run for one partition.

    Args:
        job: Its name.
        partition: The domain or pair.
        settings: What the run uses.
        run_config: The settings and the assets' own configuration, in Dagster's form.
        force: Make everything again, up to date or not.
    """

    job: str
    partition: str
    settings: Settings
    run_config: dict[str, Any]
    force: bool = False


def run_partition(work: Work, instance: dg.DagsterInstance, home: Home, listener: Listener) -> Report:
    """Run what is not up to date in one partition, and report what was made, what failed and what warned.

    Decides this only once it holds the partition's lock: another backfill may have made it meanwhile.
    """
    with turn(home, work.job, work.partition, lambda holder: listener(work.partition, holder, WAITING)):
        freshness = look_at(instance, home, work.settings, work.job)
        assets = wanted(freshness, work.job, work.partition, force=work.force)
        waiting = [] if work.force else undecided(freshness, assets, work.partition)
        return _run(work, assets, waiting, instance, listener) if assets else Report(up_to_date=[work.partition])


def _run(work: Work, assets: list[str], waiting: list[str], instance: dg.DagsterInstance, listener: Listener) -> Report:
    """Run these assets; those in ``waiting`` are kept if what they read comes out unchanged."""
    run_id, started = str(uuid.uuid4()), time.monotonic()
    _listen(instance, run_id, lambda asset, state: listener(work.partition, asset, state))
    result = defs.resolve_job_def(work.job).execute_in_process(
        run_config=work.run_config,
        instance=instance,
        partition_key=work.partition,
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        run_id=run_id,
        raise_on_error=False,
        tags={
            "ptupcdr/backfill": "command line",
            OWNER: str(Owner.present()),
            UNLESS_UNCHANGED: ",".join(waiting),
        },
    )
    made = [
        event.asset_key.to_user_string()
        for event in result.get_asset_materialization_events()
        if event.asset_key and KEPT not in event.materialization.metadata
    ]
    return Report(
        made={work.partition: made},
        seconds={work.partition: time.monotonic() - started},
        failures=_failures(work.partition, result),
        warnings=_check_findings(work.partition, result, dg.AssetCheckSeverity.WARN),
    )


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

    listen(instance, run_id, hear)


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
    """The message of the first error in the chain of causes that is the project's own, else of the innermost one."""
    if error is None:
        return "failed without an error"
    if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        return INTERRUPTED
    while error.cause is not None and error.cls_name not in OURS:
        error = error.cause
    kind, _, message = error.message.strip().partition(": ")
    if error.cls_name in (OperationalError.__name__, DatabaseError.__name__):
        return str(store_fails(message))
    return f"{kind.rsplit('.', 1)[-1]}: {message}" if message else error.message.strip()
