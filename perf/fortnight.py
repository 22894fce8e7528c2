"""A fortnight in a few minutes: files grow, one is corrupt, one has other people's ratings, one model is worse.

Every switch of [nights] is on. Each night the files are written; then the project's own sensor, automation and weekly
schedule are asked, at that night's time, what to run, and that is run to its end. Nothing else is changed.

    python perf/fortnight.py [--nights 14] [--folder DIR] [--json]
"""

import argparse
import csv
import http.server
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg
    import pyarrow as pa

FIRST = datetime(2026, 3, 1, 3, tzinfo=UTC)
"""A Sunday at three in the morning: the weekly training falls on Sundays."""
PAIRS = (("books", "movies"), ("music", "movies"))
PEOPLE, NEWCOMERS = 420, 8
"""How many people there are at first, and how many come each night."""
CORRUPT, DRIFTS, QUIET, WORSE = 4, 10, 3, 14
"""The nights on which the file of books is cut in half, movies are rated by another population, nothing changes, and
training uses settings whose model the gate refuses.
"""
CATALOG = """\
[nights]
sensor = 60
ingest = "0 3 * * *"
score = "30 3 * * *"
train = "0 5 * * 0"
automation = "score"
fresh_within_hours = 30
retries = 2
retry_seconds = 1
owners = ["team:data"]
tags = {{ product = "recommendations" }}
webhook = "{webhook}"
command = "echo $PTUPCDR_FAILED_JOB $PTUPCDR_FAILED_PARTITION >> {folder}/failures.txt"
settings_file = "settings.toml"
"""


@dataclass
class Night:
    """What happened in one night.

    Attributes:
        night: The number of the night; the first is 0.
        files: How the source files changed.
        ran: Jobs that succeeded, with their partition.
        refused: Jobs that failed and models that the gate refused, with the reason.
        told: How many messages the webhook received.
        warned: Checks that warned, with their pair.
        served: By pair, who is served in the morning, and by which model.
    """

    night: int
    files: str
    ran: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    told: int = 0
    warned: list[str] = field(default_factory=list)
    served: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Run the fortnight, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=14)
    parser.add_argument("--folder", type=Path, help="make everything here and keep it; default: a temporary folder")
    parser.add_argument("--json", action="store_true", help="print the nights as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fortnight-") as temporary, hearing() as (webhook, heard):
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, webhook)
        nights = list(spend_nights(folder, chosen.nights, heard))
    print(json.dumps([asdict(night) for night in nights]) if chosen.json else table(nights))


def prepare(folder: Path, webhook: str) -> None:
    """Write the catalog and the settings, and set the environment before the definitions are loaded."""
    lines = [CATALOG.format(webhook=webhook, folder=folder)]
    for name in ("books", "movies", "music"):
        lines.append(
            f'[domains.{name}]\nformat = "csv"\npath = "{name}.csv"\nscale = [1, 5]\n'
            'columns = { user = "user_id", item = "item_id", rating = "rating", timestamp = "timestamp" }\n'
        )
    lines += [f'[[pairs]]\nsource = "{source}"\ntarget = "{target}"\n' for source, target in PAIRS]
    (folder / "domains.toml").write_text("\n".join(lines))
    (folder / "settings.toml").write_text('mode = "rating"\nembedding_size = 6\n')
    os.environ |= {
        "PTUPCDR_CATALOG": str(folder / "domains.toml"),
        "PTUPCDR_HOME": str(folder / "home"),
        "DAGSTER_HOME": str(folder / "home" / "dagster"),
    }


def spend_nights(folder: Path, nights: int, heard: list[Any]) -> Iterator[Night]:
    """Spend this many nights, one after the other."""
    from ptupcdr_core.store.home import Home
    from ptupcdr_dagster.running.instance import open_instance

    home = Home.from_environment()
    with open_instance(home) as instance:
        daemon = Daemon(home, instance, folder)
        for number in range(nights + 1):
            told = len(heard)
            night = Night(number, write_files(folder, number))
            daemon.spend(night)
            night.told = len(heard) - told
            print(f"night {number}: {'; '.join(night.ran) or 'nothing ran'}", file=sys.stderr)
            yield night


@dataclass
class Daemon:
    """Does what Dagster's daemon would do, at the time of each night.

    Args:
        home: Where generated state lives.
        instance: Records the runs.
        folder: Has the source files.
        cursor: The automation's cursor.
        asked: Run keys that the sensor has requested; each is run once.
        trained: The night in which each served bundle was first seen, by digest.
    """

    home: Any
    instance: "dg.DagsterInstance"
    folder: Path
    cursor: Any = None
    asked: set[str] = field(default_factory=set)
    trained: dict[str, int] = field(default_factory=dict)

    def spend(self, night: Night) -> None:
        """Ask the sensor, the automation and, on Sundays, the weekly training, and run what they request."""
        import dagster as dg

        from ptupcdr_dagster import automation
        from ptupcdr_dagster.definitions import defs

        now = FIRST + timedelta(days=night.night)
        with dg.build_sensor_context(self.instance) as sensing:
            found: Any = automation.changed_sources(sensing)
            for wanted in found:
                if isinstance(wanted, dg.RunRequest) and wanted.run_key not in self.asked:
                    self.asked.add(str(wanted.run_key))
                    self.run(night, "ingest_domain", wanted)
        self.follow(night)
        if now.weekday() == 6:
            with dg.build_schedule_context(self.instance, now, repository_def=defs.get_repository_def()) as scheduled:
                for wanted in automation.weekly_training.evaluate_tick(scheduled).run_requests or ():
                    self.run(night, "bridge_pair", wanted)
            self.follow(night)
        self.look(night)

    def follow(self, night: Night) -> None:
        """Run what the automation requests, now that other assets have been made."""
        import dagster as dg

        from ptupcdr_dagster.automation import KEEP
        from ptupcdr_dagster.definitions import defs

        while True:  # tick by tick, until one requests nothing
            found = dg.evaluate_automation_conditions(defs, instance=self.instance, cursor=self.cursor)
            self.cursor = found.cursor
            pairs = sorted(map(str, found.get_requested_partitions(dg.AssetKey("recommendations"))))
            for pair in pairs:
                self.run(night, "score_pair", dg.RunRequest(partition_key=pair, tags=KEEP))
            if not pairs:
                return

    def run(self, night: Night, job: str, wanted: "dg.RunRequest") -> None:
        """Run a job to its end; if it fails, the failure sensor is called."""
        from ptupcdr_core.settings import Settings
        from ptupcdr_core.store.settings_file import read_settings_file
        from ptupcdr_dagster.assets.stage import KEPT
        from ptupcdr_dagster.definitions import defs
        from ptupcdr_dagster.resources import run_config

        settings = Settings(**read_settings_file(self.folder / "settings.toml"))
        if night.night == WORSE and job == "bridge_pair":
            settings = settings.model_copy(update={"recipe": "published"})
        result = defs.resolve_job_def(job).execute_in_process(
            partition_key=wanted.partition_key,
            instance=self.instance,
            tags=wanted.tags,
            run_config=run_config(settings),
            raise_on_error=False,
        )
        events = result.get_asset_materialization_events()
        made = [event for event in events if KEPT not in event.materialization.metadata]
        if result.success:
            night.ran.append(f"{job} {wanted.partition_key}" + ("" if made else " (kept)"))
            return
        night.refused.append(f"{job} {wanted.partition_key}: {self.tell(result)}")

    def tell(self, result: Any) -> str:
        """Call the failure sensor as the daemon does; returns its message."""
        import dagster as dg

        from ptupcdr_dagster.automation import failures_of, tell_of_failures

        [failed] = [event for event in result.all_events if event.is_job_failure]
        context = dg.build_run_status_sensor_context(
            sensor_name="tell_of_failures",
            dagster_instance=self.instance,
            dagster_run=result.dagster_run,
            dagster_event=failed,
        ).for_run_failure()
        tell_of_failures(context)
        return failures_of(context)["message"]

    def look(self, night: Night) -> None:
        """Note who is served in the morning, and which checks warn."""
        from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file, deployed_bundle
        from ptupcdr_core.store.warehouse import Warehouse

        warehouse = Warehouse(self.home.warehouse)
        for source, target in PAIRS:
            pair = f"{source}__{target}"
            if not warehouse.exists("champion", pair):
                night.served[pair] = "nothing yet"
                continue
            with warehouse.read("champion", pair) as connection:
                [(passed, reason)] = connection.execute(
                    "select bool_or(promoted), any_value(reason) from champion"
                ).fetchall()
            if not passed and any(f"bridge_pair {pair}" in run for run in night.ran):
                night.refused.append(f"gate {pair}: {reason.partition(' (')[0]}")
            if not bundle_file(self.home, DEPLOYED, pair).is_file():
                night.served[pair] = "nothing: no model has passed the gate"
                continue
            digest = deployed_bundle(self.home, pair).digest
            trained = self.trained.setdefault(digest, night.night)
            with warehouse.read("recommendations", pair) as connection:
                [(people, overlap)] = connection.execute(
                    "select count(distinct user_id), (select last(tonight order by night) from drift "
                    "where measure = 'list_overlap') from recommendations where cohort = 'cold'"
                ).fetchall()
            as_before = "" if overlap is None else f", {overlap:.0%} as before"
            night.served[pair] = f"{people} people, model of night {trained}{as_before}"
            night.warned += [f"{pair} {name}" for name in self.warnings(pair)]

    def warnings(self, pair: str) -> list[str]:
        """The checks of the newest lists that warn."""
        from ptupcdr_dagster.definitions import defs
        from ptupcdr_dagster.running.private import failed_checks

        keys = [
            spec.key
            for definition in defs.asset_checks or []
            for spec in definition.check_specs
            if spec.asset_key.to_user_string() == "recommendations" and not spec.blocking
        ]
        return [key.name for key in failed_checks(self.instance, keys, pair)]


def write_files(folder: Path, night: int) -> str:
    """Write a night's files; returns which changed, and what is wrong with them."""
    if night == QUIET:
        for file in folder.glob("*.csv"):
            file.touch()
        return "touched, not changed"
    changed = []
    for name in ("books", "movies", "music"):
        if name == "music" and night % 3:
            continue  # a new file comes only every third night
        _write(folder / f"{name}.csv", _ratings(name, PEOPLE + NEWCOMERS * night, drifting=night == DRIFTS))
        changed.append(name)
    if night == CORRUPT:
        file = folder / "books.csv"
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2].replace(b"user_id,", b"\x00\x00,", 1))
    odd = {CORRUPT: "; books is corrupt", DRIFTS: "; movies: another population"}.get(night, "")
    return f"{', '.join(changed)} grew" + odd


def _ratings(name: str, people: int, *, drifting: bool) -> "pa.Table":
    import pyarrow.compute as pc

    from ptupcdr_core.sources import demo

    rated = demo.generate(name)
    rated = rated.filter(pc.less(rated["user_id"], f"person-{people:05d}"))
    if not (drifting and name == "movies"):
        return rated
    # The new population rates everything two stars higher.
    return rated.set_column(2, "rating", pc.min_element_wise(pc.add(rated["rating"], 2), 5))


def _write(file: Path, rated: "pa.Table") -> None:
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(rated.column_names)
        rows.writerows(zip(*(column.to_pylist() for column in rated.columns), strict=True))


@contextmanager
def hearing() -> Iterator[tuple[str, list[Any]]]:
    """A local webhook: its address, and a list to which everything that it receives is added."""
    heard: list[Any] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


def table(nights: list[Night]) -> str:
    """The nights as a Markdown table, one row each."""
    lines = ["| night | files | ran | refused | warned | served in the morning |", "| --- " * 6 + "|"]
    for night in nights:
        served = "<br>".join(f"{pair}: {what}" for pair, what in night.served.items())
        cells = [
            f"{(FIRST + timedelta(days=night.night)):%a} {night.night}",
            night.files,
            "<br>".join(night.ran) or "nothing",
            "<br>".join(night.refused),
            "<br>".join(night.warned),
            served,
        ]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
