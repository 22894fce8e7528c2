"""What runs by itself: its switches, and how a failure is reported."""

import http.server
import json
import logging
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ptupcdr_core.errors import CatalogError, FetchError, PtupcdrError, SourceError
from ptupcdr_core.store.home import Home
from ptupcdr_dagster import automation
from ptupcdr_dagster.assets import stage
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.nights import Nights, load_nights
from ptupcdr_dagster.partitions import CATALOG, PAIRS


def catalog(folder: Path, table: str) -> Path:
    path = folder / "domains.toml"
    path.write_text(table)
    return path


def test_everything_is_off_by_default() -> None:
    sensors = {sensor.name: sensor.default_status for sensor in defs.sensors or []}
    assert set(sensors.values()) == {dg.DefaultSensorStatus.STOPPED}, sensors
    schedules = [s for s in defs.schedules or [] if isinstance(s, dg.ScheduleDefinition)]
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.STOPPED}
    for asset in defs.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        [spec] = asset.specs
        assert (spec.automation_condition, spec.freshness_policy, list(spec.owners)) == (None, None, []), asset.key


def test_the_catalog_switches_and_the_environment_wins(tmp_path: Path) -> None:
    path = catalog(tmp_path, '[nights]\nsensor = 60\nscore = "0 3 * * *"\nowners = ["team:data"]\n')
    assert load_nights(path, {}) == Nights(sensor=60, score="0 3 * * *", owners=("team:data",))
    given = {"PTUPCDR_NIGHTS_SENSOR": "5", "PTUPCDR_NIGHTS_OWNERS": "team:a, b@c.de", "PTUPCDR_NIGHTS_TAGS": "a=b"}
    found = load_nights(path, given)
    assert (found.sensor, found.owners, found.tags) == (5, ("team:a", "b@c.de"), {"a": "b"})


@pytest.mark.parametrize("name", ["nightly_ingest", "nightly_score", "weekly_training"])
def test_a_tick_of_a_schedule_asks_for_one_run_a_partition(name: str, home: Home) -> None:
    """As the daemon evaluates it; two ticks are two nights."""
    schedule = defs.get_schedule_def(name)
    wanted = (
        {domain.name for domain in CATALOG.domains} if name == "nightly_ingest" else set(PAIRS.get_partition_keys())
    )
    keys = set()
    with dg.DagsterInstance.ephemeral() as instance:
        for day in (1, 2):
            at = datetime(2026, 3, day, 3, tzinfo=UTC)
            with dg.build_schedule_context(instance, at, repository_def=defs.get_repository_def()) as context:
                asked = list(schedule.evaluate_tick(context).run_requests or ())
            assert {request.partition_key for request in asked} == wanted
            keys |= {request.run_key for request in asked}
    assert len(keys) == 2 * len(wanted) > 2


@pytest.mark.parametrize(
    ("table", "environment", "expected"),
    [
        ("sensr = 60", {}, r"domains.toml: nights.sensr: unknown key; expected some of sensor, ingest, score"),
        ("sensor = 0", {}, r"domains.toml: nights.sensor: .* greater than or equal to 1, got 0"),
        ('score = "at three"', {}, r"nights.score: expected the five fields of cron, .*, got 'at three'"),
        ('score = "99 3 * * *"', {}, r"nights.score: expected the five fields of cron, .*, got '99 3 \* \* \*'"),
        ('timezone = "Mars"', {}, r"nights.timezone: expected the name of a time zone, .*, got 'Mars'"),
        ('owners = ["bob"]', {}, r"nights.owners: expected e-mail addresses, or team:name, got \['bob'\]"),
        ('tags = { product = "a b" }', {}, r"nights.tags: expected names and values of letters, .*'a b'"),
        ('automation = "all"', {}, r"nights.automation: .*'score' or 'train', got 'all'"),
        ("", {"PTUPCDR_NIGHTS_RETRIES": "many"}, r"PTUPCDR_NIGHTS_RETRIES: .* integer, .*got 'many'"),
        ('webhook = "mail"', {}, r"nights.webhook: .*got 'mail'"),
    ],
)
def test_a_wrong_switch_is_told_with_its_place(
    tmp_path: Path, table: str, environment: dict[str, str], expected: str
) -> None:
    with pytest.raises(CatalogError, match=expected):
        load_nights(catalog(tmp_path, f"[nights]\n{table}\n"), environment)


def test_the_sensor_asks_once_for_each_content(home: Home) -> None:
    def asked() -> dict[str, str]:
        with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance) as context:
            found: Any = automation.changed_sources(context)
            return {run.partition_key: run.run_key for run in found if isinstance(run, dg.RunRequest)}

    first = asked()
    assert set(first) == {"books", "movies", "music"}
    assert asked() == first


def test_a_source_that_cannot_be_read_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(asset: object, home: Home, domain: str, *rest: object) -> str:
        if domain == "music":
            raise FetchError("music.csv: the server answers 403 Forbidden")
        return "changed"

    monkeypatch.setattr(automation, "fingerprint", refused)
    found = dict(automation.changed_domains(home, logging.getLogger("nights")))
    assert found == {"books": "changed", "movies": "changed"}
    assert "music is left as it stands: music.csv: the server answers 403 Forbidden" in caplog.text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FetchError("no answer"), dg.RetryRequested),
        (ConnectionError("refused"), dg.RetryRequested),
        (SourceError("no column user"), SourceError),
    ],
)
def test_only_what_failed_for_outside_reasons_is_tried_again(
    error: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second:
        retry_number = 1

    monkeypatch.setattr(stage, "NIGHTS", Nights(retries=3, retry_seconds=10))
    with pytest.raises(expected) as raised, stage._outside_reasons(Second()):  # type: ignore[arg-type]
        raise error
    if isinstance(raised.value, dg.RetryRequested):
        assert (raised.value.max_retries, raised.value.seconds_to_wait) == (3, 20)


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    heard: list[dict[str, str]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


def failed_run(instance: dg.DagsterInstance) -> None:
    """Let a run fail, and the sensor hear of it."""

    @dg.op
    def breaks() -> None:
        try:
            raise OSError("the disk is full")
        except OSError as error:
            raise ValueError("cannot go on") from error

    @dg.job
    def nightly() -> None:
        breaks()

    result = nightly.execute_in_process(instance=instance, raise_on_error=False)
    [failed] = [event for event in result.all_events if event.is_job_failure]
    context = dg.build_run_status_sensor_context(
        sensor_name="tell_of_failures",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=failed,
    ).for_run_failure()
    automation.tell_of_failures(context)


def test_a_failed_run_is_told_to_the_webhook_and_the_command(
    webhook: tuple[str, list[dict[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, heard = webhook
    command = f'echo "$PTUPCDR_FAILED_JOB: $PTUPCDR_FAILED_MESSAGE" > {tmp_path}/told'
    monkeypatch.setattr(automation, "NIGHTS", Nights(webhook=address, command=command))

    with dg.DagsterInstance.ephemeral() as instance:
        failed_run(instance)
    assert [(told["job"], told["message"]) for told in heard] == [("nightly", "breaks: OSError: the disk is full")]
    assert (tmp_path / "told").read_text() == "nightly: breaks: OSError: the disk is full\n"


def test_a_webhook_that_does_not_answer_is_told_by_its_host_alone() -> None:
    """The rest of such an address is the secret of whoever may write there."""
    secret = "T0" * 4
    with pytest.raises(PtupcdrError, match=r"the webhook at 127.0.0.1 was not told .*; check webhook") as told:
        automation.post(f"http://127.0.0.1:1/{secret}?key={secret}", {})
    assert secret not in "".join(traceback.format_exception(told.value))


def test_the_command_is_run_where_the_webhook_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nights = Nights(webhook="http://127.0.0.1:1", command=f'echo "$PTUPCDR_FAILED_JOB" > {tmp_path}/told')
    monkeypatch.setattr(automation, "NIGHTS", nights)
    monkeypatch.setattr(automation, "failures_of", lambda context: {"job": "nightly"})
    with pytest.raises(PtupcdrError, match="was not told"), dg.DagsterInstance.ephemeral() as instance:
        failed_run(instance)
    assert (tmp_path / "told").read_text() == "nightly\n"
