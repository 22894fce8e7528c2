"""Sensors and schedules that start runs, and one that reports failures; each is off unless [nights] switches it on."""

import logging
import os
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import dagster as dg
import requests

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.stage import UNLESS_UNCHANGED
from ptupcdr_dagster.jobs import BRIDGE_PAIR, SCORE_PAIR, ingest_domain_job
from ptupcdr_dagster.nights import NIGHTS
from ptupcdr_dagster.partitions import CATALOG, PAIRS
from ptupcdr_dagster.running.freshness import FINGERPRINT, RAW, fingerprint, stored_provenance

TELL_SECONDS = 30
KEEP = {UNLESS_UNCHANGED: "all"}
"""Scheduled runs do not make again what would come out the same."""


def _sensor(on: object) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED


def _schedule(on: object) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED


def changed_domains(home: Home, log: logging.Logger) -> Iterator[tuple[str, str]]:
    """Domains whose source differs from what was ingested, each with its fingerprint now.

    The log says which sources cannot be read, as when there is no file yet, or a server refuses: they are left out.
    """
    for domain in CATALOG.domains:
        try:
            now = fingerprint(raw_ratings, home, domain.name, Settings(), {})
        except PtupcdrError as error:
            log.warning("%s is left as it stands: %s", domain.name, error)
            continue
        if (stored_provenance(home, RAW, domain.name) or {}).get(FINGERPRINT) != now:
            yield domain.name, now


@dg.sensor(
    job=ingest_domain_job,
    minimum_interval_seconds=NIGHTS.sensor or 300,
    default_status=_sensor(NIGHTS.sensor),
    description="Ingests each domain whose source files have changed since it was last ingested.",
)
def changed_sources(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run for each changed domain; the same content is requested once, so that a broken file fails only once."""
    found = list(changed_domains(Home.from_environment(), context.log))
    for domain, now in found:
        yield dg.RunRequest(run_key=f"{domain} {now}", partition_key=domain)
    if not found:
        yield dg.SkipReason("no source that can be read has changed")


@dg.schedule(
    job=ingest_domain_job,
    cron_schedule=NIGHTS.ingest or "0 3 * * *",
    execution_timezone=NIGHTS.timezone,
    default_status=_schedule(NIGHTS.ingest),
    description="Ingests each domain whose source has changed.",
)
def nightly_ingest(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """One run for each changed domain."""
    return [
        dg.RunRequest(_at(domain, context), partition_key=domain)
        for domain, _ in changed_domains(Home.from_environment(), context.log)
    ]


def _at(partition: str, context: dg.ScheduleEvaluationContext) -> str:
    """The run key: Dagster wants one where a tick starts several runs; a partition runs once per tick."""
    return f"{partition} {context.scheduled_execution_time.isoformat()}"


def _every_pair(name: str, job: str, cron: str, on: object, told: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=NIGHTS.timezone,
        default_status=_schedule(on),
        description=told,
    )
    def every_pair(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        """One run for each pair."""
        return [dg.RunRequest(_at(pair, context), tags=KEEP, partition_key=pair) for pair in PAIRS.get_partition_keys()]

    return every_pair


nightly_score = _every_pair(
    "nightly_score",
    SCORE_PAIR,
    NIGHTS.score or "0 4 * * *",
    NIGHTS.score,
    "Makes the lists of every pair whose ratings have changed, from the deployed model; trains nothing.",
)
weekly_training = _every_pair(
    "weekly_training",
    BRIDGE_PAIR,
    NIGHTS.train or "0 5 * * 0",
    NIGHTS.train,
    "Trains, judges and deploys every pair whose ratings have changed.",
)


follows = dg.AutomationConditionSensorDefinition(
    "follows_changed_ratings",
    target=dg.AssetSelection.all(),
    default_status=_sensor(NIGHTS.automation),
    minimum_interval_seconds=NIGHTS.sensor or 30,
    run_tags=KEEP,
    description="Makes again what depends on newly ingested ratings, where they differ from before; nothing else.",
)


@dg.run_failure_sensor(
    name="tell_of_failures",
    default_status=_sensor(NIGHTS.webhook or NIGHTS.command),
    minimum_interval_seconds=30,
    description="For each failed run: notifies the webhook and runs the command that [nights] names.",
)
def tell_of_failures(context: dg.RunFailureSensorContext) -> None:
    """Reports job, partition, run, and the first error of each failed step."""
    told = failures_of(context)
    try:
        if NIGHTS.webhook:
            post(NIGHTS.webhook, told)
    finally:  # if the webhook fails, the command still runs
        if NIGHTS.command:
            variables = {f"PTUPCDR_FAILED_{name.upper()}": value for name, value in told.items()}
            environment, command = os.environ | variables, NIGHTS.command
            # The catalog's author may run commands here; the report is passed as variables, never in the command.
            subprocess.run(command, shell=True, check=True, timeout=TELL_SECONDS, env=environment)  # nosec B602 # ours


def failures_of(context: dg.RunFailureSensorContext) -> dict[str, str]:
    """Job, partition, run id, and a message."""
    errors = [f"{event.step_key}: {_innermost(event)}" for event in context.get_step_failure_events()]
    return {
        "job": context.dagster_run.job_name,
        "partition": context.dagster_run.tags.get("dagster/partition", ""),
        "run_id": context.dagster_run.run_id,
        "message": "; ".join(errors) or context.failure_event.message or "failed",
    }


def post(address: str, told: dict[str, str]) -> None:
    """Send JSON.

    Raises:
        PtupcdrError: it was not delivered. Names the host only, since the rest of such an address is often a secret.
    """
    try:
        requests.post(address, json=told, timeout=TELL_SECONDS).raise_for_status()
    except requests.RequestException as error:
        answered = type(error).__name__ if error.response is None else f"it answered {error.response.status_code}"
    else:
        return
    raise PtupcdrError(
        f"the webhook at {urlsplit(address).hostname} was not told of a failed run ({answered}); "
        "check webhook in [nights]"
    )


def _innermost(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return "failed without an error" if error is None else " ".join(error.message.split())


SENSORS = [changed_sources, follows, tell_of_failures]
SCHEDULES = [nightly_ingest, nightly_score, weekly_training]
