"""`ptupcdr up` in processes of its own: both UIs, and the daemon with all switches of [nights] on."""

import contextlib
import json
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import dagster as dg
import psutil
import pytest
from catalogs import small_catalog, write_domain
from local_servers import free_port, wait_for
from programs import PATIENCE, QUICK, Project

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.nights import PREFIX, Nights

T = TypeVar("T")

BACKFILL = """
mutation ($names: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {partitionNames: $names, assetSelection: $assets}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}
"""
TICKS = """
query ($name: String!) {
  instigationStateOrError(instigationSelector: {
    repositoryLocationName: "ptupcdr", repositoryName: "__repository__", name: $name
  }) { ... on InstigationState { ticks(limit: 5) { endTimestamp } } }
}
"""


@dataclass(frozen=True)
class Up:
    """`ptupcdr up` while it runs; the command that is run at failures writes to ``failures``."""

    process: "subprocess.Popen[str]"
    port: int
    mlflow_port: int
    failures: Path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose two pairs are up to date; of ratings alone, which takes half the time."""
    root = tmp_path_factory.mktemp("project")
    made = Project(small_catalog(root / "catalog", [("books", "movies"), ("movies", "music")]), Home(root / "home"))
    done = made.run("backfill", *QUICK, "--mode", "rating")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def up(project: Project) -> Iterator[Up]:
    """All switches of [nights] are on; what goes by the clock is due half a day from now."""
    (project.catalog.parent / "quick.toml").write_text("epochs = 2\nembedding_size = 4\n")
    port, mlflow_port, failures = free_port(), free_port(), project.catalog.with_name("failures.txt")
    later = f"0 {(time.gmtime().tm_hour + 12) % 24} * * *"
    switches: dict[str, str] = {
        "sensor": "1",
        **dict.fromkeys(("ingest", "score", "train"), later),
        "automation": "score",
        "settings_file": "quick.toml",
        "timezone": "UTC",
        "fresh_within_hours": "30",
        "retries": "2",
        "retry_seconds": "1",
        "webhook": "http://127.0.0.1:1/nobody-is-there",
        "command": f'echo "$PTUPCDR_FAILED_JOB" >> {failures}',
        "owners": "team:data",
        "tags": "product=recommendations",
    }
    assert switches.keys() == Nights.model_fields.keys()
    environment = {f"{PREFIX}{name.upper()}": value for name, value in switches.items()}
    process = project.start_alone("up", "--port", str(port), "--mlflow-port", str(mlflow_port), **environment)
    try:
        wait_for(f"http://127.0.0.1:{mlflow_port}/health", process)
        wait_for(f"http://127.0.0.1:{port}/server_info", process)
        yield Up(process, port, mlflow_port, failures)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


@pytest.mark.slow
def test_of_a_changed_file_exactly_what_hangs_on_it_is_run_by_itself(up: Up, project: Project) -> None:
    """By the daemon of `dagster dev`: the domain is ingested, and the lists of the pair that names it are made."""
    with project.instance() as instance:
        before = {run.run_id for run in instance.get_runs()}

        def new_runs() -> list[dg.DagsterRun]:
            return [run for run in instance.get_runs() if run.run_id not in before]

        wait_until(lambda: looked_since(up, 0.0))
        assert new_runs() == [], "nothing has changed"
        assert newcomers(project) == ["user056", "user057", "user058", "user059"]
        project.catalog.with_name("movies.csv").touch()
        write_domain(project.catalog.with_name("music.csv"), "music", range(56, 210))
        wait_until(lambda: len(new_runs()) >= 2 and all(run.is_finished for run in new_runs()))
        # Whatever was to follow has been asked for when both have looked once more.
        ended = time.time()
        wait_until(lambda: looked_since(up, ended) and all(run.is_finished for run in new_runs()))
        found = [(made_by(instance, run), run.tags["dagster/partition"], run.status.value) for run in new_runs()]
    wanted = [("raw_ratings", "music", "SUCCESS"), ("recommendations", "movies__music", "SUCCESS")]
    assert sorted(found) == wanted, found
    assert not up.failures.exists(), up.failures.read_text()
    assert newcomers(project) == [], "they have rated music now"


def newcomers(project: Project) -> list[str]:
    """Who has lists of the four people who had rated no music at first."""
    with Warehouse(project.home.warehouse).read("recommendations", "movies__music") as connection:
        query = "select distinct user_id from recommendations where cohort = 'cold' and "
        query += "user_id between 'user056' and 'user059' order by user_id"
        return [user for (user,) in connection.execute(query).fetchall()]


def looked_since(up: Up, moment: float) -> bool:
    """Whether the sensor of sources, and after it the automation, have looked since then."""
    for name in ("changed_sources", "follows_changed_ratings"):
        state = ask(up.port, TICKS, {"name": name})["instigationStateOrError"]
        ended = [tick["endTimestamp"] or 0.0 for tick in state.get("ticks", [])]
        if sum(end > moment for end in ended) < 2:  # the first may have begun before
            return False
    return True


def made_by(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The assets that a run has made."""
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    return " ".join(sorted(str(record.asset_key and record.asset_key.to_user_string()) for record in records))


@pytest.mark.slow
def test_up_serves_both_uis_and_carries_out_a_backfill_from_the_ui(up: Up, project: Project) -> None:
    assert listening(up.process.pid) == {"127.0.0.1"}, "no other machine is let in unless told to"
    commands = [" ".join(command) for command in of_all(up.process.pid, psutil.Process.cmdline)]
    assert any("mlflow server " in command for command in commands), "of whom the next line speaks"
    assert not [command for command in commands if "huey" in command], "MLflow's jobs serve nothing here"
    # Two that depend on each other: what all of them make is looked at elsewhere, without daemon and server.
    assets = [{"path": [asset]} for asset in ("domain_splits", "source_model")]
    launched = ask(up.port, BACKFILL, {"names": ["books__movies"], "assets": assets})["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def status() -> str:
        return str(ask(up.port, STATUS, {"id": launched["backfillId"]})["partitionBackfillOrError"]["status"])

    wait_until(lambda: status().startswith(("COMPLETED", "FAILED")))
    assert status() == "COMPLETED_SUCCESS"
    up.process.send_signal(signal.SIGINT)
    output, errors = up.process.communicate(timeout=60)
    assert up.process.returncode == 0, errors
    assert f"http://127.0.0.1:{up.port}" in errors, output
    for stopped in (up.port, up.mlflow_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", stopped)) != 0
    with project.instance() as instance:
        [run] = instance.get_runs(limit=1)
        assert run.tags["dagster/backfill"] == launched["backfillId"]


def test_up_names_a_port_that_is_taken(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = project.run("up", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "choose another --port" in done.stderr


def listening(pid: int) -> set[str]:
    """The addresses at which a program and all that it has started can be reached."""
    found = of_all(pid, lambda process: process.net_connections("tcp"))
    return {at.laddr.ip for connections in found for at in connections if at.status == psutil.CONN_LISTEN}


def of_all(pid: int, asked: Callable[[psutil.Process], T]) -> list[T]:
    """What a program and all that it has started answer; one that ends meanwhile has nothing to say."""
    program, answers = psutil.Process(pid), []
    for process in [program, *program.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, which its parent has yet to bury, is one of these
            answers.append(asked(process))
    return answers


def wait_until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline, f"it has not come in {PATIENCE:.0f} s"
        time.sleep(0.5)


def ask(port: int, query: str, variables: dict[str, object]) -> dict:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]
