"""What starts runs by itself, and tells of those that fail; each stopped unless its switch in [nights] is on."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import dagster as dg

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.stage import UNLESS_UNCHANGED
from ptupcdr_dagster.jobs import bridge_pair_job, ingest_domain_job, score_pair_job
from ptupcdr_dagster.nights import NIGHTS
from ptupcdr_dagster.partitions import CATALOG, PAIRS
from ptupcdr_dagster.running.freshness import FINGERPRINT, RAW, fingerprint, stored_provenance

TELL_SECONDS = 30
KEEP = {UNLESS_UNCHANGED: "all"}
"""What is scheduled leaves as it stands what would come out the same."""


def _sensor(on: object) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED


def _schedule(on: object) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED


def changed_domains(home: Home) -> Iterator[tuple[str, str]]:
    """Domains whose source is not what their ratings were made from, and what it is now; one without files is none."""
    for domain in CATALOG.domains:
        try:
            now = fingerprint(raw_ratings, home, domain.name, Settings(), {})
        except PtupcdrError:
            continue
        if (stored_provenance(home, RAW, domain.name) or {}).get(FINGERPRINT) != now:
            yield domain.name, now


@dg.sensor(
    job=ingest_domain_job,
    minimum_interval_seconds=NIGHTS.sensor or 300,
    default_status=_sensor(NIGHTS.sensor),
    description="Ingests each domain whose source files have another content than those that it was ingested from.",
)
def changed_sources(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run a changed domain; the same content is asked for once, so that a broken file fails once."""
    found = list(changed_domains(Home.from_environment()))
    for domain, now in found:
        yield dg.RunRequest(run_key=f"{domain} {now}", partition_key=domain)
    if not found:
        yield dg.SkipReason("no source has changed")


@dg.schedule(
    job=ingest_domain_job,
    cron_schedule=NIGHTS.ingest or "0 3 * * *",
    execution_timezone=NIGHTS.timezone,
    default_status=_schedule(NIGHTS.ingest),
    description="Ingests each domain whose source has changed.",
)
def nightly_ingest(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """One run a changed domain."""
    return [dg.RunRequest(partition_key=domain) for domain, _ in changed_domains(Home.from_environment())]


@dg.schedule(
    job=score_pair_job,
    cron_schedule=NIGHTS.score or "0 4 * * *",
    execution_timezone=NIGHTS.timezone,
    default_status=_schedule(NIGHTS.score),
    description="Makes every pair's lists from what is deployed, where its ratings have changed; trains nothing.",
)
def nightly_score(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """One run a pair."""
    return [dg.RunRequest(partition_key=pair, tags=KEEP) for pair in PAIRS.get_partition_keys()]


@dg.schedule(
    job=bridge_pair_job,
    cron_schedule=NIGHTS.train or "0 5 * * 0",
    execution_timezone=NIGHTS.timezone,
    default_status=_schedule(NIGHTS.train),
    description="Trains, judges and deploys every pair whose ratings have changed.",
)
def weekly_training(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """One run a pair."""
    return [dg.RunRequest(partition_key=pair, tags=KEEP) for pair in PAIRS.get_partition_keys()]


follows = dg.AutomationConditionSensorDefinition(
    "follows_changed_ratings",
    target=dg.AssetSelection.all(),
    default_status=_sensor(NIGHTS.automation),
    minimum_interval_seconds=NIGHTS.sensor or 30,
    run_tags=KEEP,
    description="Makes again what hangs on ratings that were ingested and are others than before, and nothing else.",
)


@dg.run_failure_sensor(
    name="tell_of_failures",
    default_status=_sensor(NIGHTS.webhook or NIGHTS.command),
    minimum_interval_seconds=30,
    description="Tells the webhook, and runs the command, of [nights] for each run that failed.",
)
def tell_of_failures(context: dg.RunFailureSensorContext) -> None:
    """Told are job, partition, run, and the first error of each failed step."""
    told = failures_of(context)
    if NIGHTS.webhook:
        post(NIGHTS.webhook, told)
    if NIGHTS.command:
        variables = {f"PTUPCDR_FAILED_{name.upper()}": value for name, value in told.items()}
        environment, command = os.environ | variables, NIGHTS.command
        # Whoever writes the catalog may run commands here; what is told is passed beside the command, not in it.
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
        PtupcdrError: nobody took it.
    """
    request = urllib.request.Request(address, json.dumps(told).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TELL_SECONDS):  # nosec B310 # [nights] takes http and https alone
            pass
    except (OSError, urllib.error.URLError) as error:
        raise PtupcdrError(f"{address} was not told of a failed run: {error}; check webhook in [nights]") from error


def _innermost(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return "failed without an error" if error is None else " ".join(error.message.split())


SENSORS = [changed_sources, follows, tell_of_failures]
SCHEDULES = [nightly_ingest, nightly_score, weekly_training]
