"""An MLflow server that is down, hangs or freezes: seconds, one message, nothing lost, everything sent later."""

import io
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import PAIR, SETTINGS
from mlflow_server import serving
from rich.console import Console

from ptupcdr_core.errors import TrackingError
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.cli.tracking import server_looked_after
from ptupcdr_dagster.partitions import CATALOG
from ptupcdr_dagster.running.backfill import Backfill
from ptupcdr_dagster.running.instance import open_instance
from ptupcdr_dagster.tracking import stores
from ptupcdr_dagster.tracking.runs import StageTracker
from ptupcdr_dagster.tracking.sending import send_kept
from ptupcdr_dagster.tracking.stores import UNSENT, kept_mark, open_own, open_store, unanswered


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answers are remembered by the process, which is here that of other tests too."""
    unanswered.cache_clear()
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield
    unanswered.cache_clear()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Takes connections, and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("state", "told"), [("refuses", "Connection refused"), ("hangs", "it does not answer within 1 s")]
)
def test_a_dead_server_costs_seconds_and_a_message(
    home: Home, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, state: str, told: str
) -> None:
    port = port_of(listener)
    if state == "refuses":
        listener.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:secret@127.0.0.1:{port}")
    seen = io.StringIO()
    with server_looked_after(home, Console(file=seen, width=200)), open_instance(home) as instance:
        report = Backfill(instance, home, SETTINGS).ingest(CATALOG.pair(PAIR))
    assert report.failures == []
    [line] = seen.getvalue().splitlines()
    assert line == (
        f"The MLflow server http://***@127.0.0.1:{port} does not answer ({told}): metrics and models are kept in "
        f"{home.mlflow}, and sent by the next run or by `ptupcdr mlflow sync`"
    )
    client, experiment = open_own(home)
    kept = client.search_runs([experiment], f"tags.`{UNSENT}` = 'yes'")
    stages = [run for run in kept if run.data.tags["ptupcdr.level"] == "stage"]
    assert {run.data.tags["dagster.partition"] for run in stages} == {"books", "movies"}
    assert all(run.data.metrics["kept"] > 0 and run.info.status == "FINISHED" for run in stages)
    with pytest.raises(TrackingError, match=rf"127.*: {told}; what is kept in .*mlflow can be sent once it answers"):
        send_kept(home)
    assert kept_mark(home).exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A real MLflow server on this machine."""
    with serving(tmp_path, f"sqlite:///{tmp_path}/server.db", f"{tmp_path}/artifacts") as running:
        yield running


@pytest.mark.slow
def test_what_a_server_stops_taking_is_sent_when_it_is_back(
    home: Home, server: tuple[str, "subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It freezes in the middle of a stage: nothing that the stage has told before or after is missing in the end."""
    address, process = server
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 60.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "200")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    file = tmp_path / "weights.txt"
    file.write_text("weights")
    tracker = StageTracker.begin(home, lambda client, experiment: {"ptupcdr.level": "stage", "mlflow.runName": "a"})
    theirs, experiment = open_store(home)
    assert theirs.tracking_uri == address
    on_server = tracker.run_id
    tracker.log_params({"beta": 0.2})
    tracker.on_epoch(1, {"loss": 3.0})
    tracker.flush()
    os.killpg(process.pid, signal.SIGSTOP)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 1.0)
    seen = io.StringIO()
    with server_looked_after(home, Console(file=seen, width=300)):  # it answered when it was asked at the start
        tracker.on_epoch(2, {"loss": 2.0})
        tracker.log_dataset("books__movies", "abc", {"users": 3})
        tracker.log_child("cell", {"seed": 1}, {"rmse": 1.5})
        tracker.log_files([file])
        tracker.end("FINISHED")
    assert "stopped answering" in seen.getvalue()
    assert tracker.client.tracking_uri != address
    unanswered.cache_clear()
    with pytest.raises(TrackingError, match="what is kept"):
        send_kept(home)
    os.killpg(process.pid, signal.SIGCONT)
    unanswered.cache_clear()
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 60.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "200")
    assert send_kept(home) == 2
    assert send_kept(home) == 0, "nothing is sent twice"
    run = theirs.get_run(on_server)
    assert (run.info.status, run.data.params["beta"], run.data.tags["mlflow.runName"]) == ("FINISHED", "0.2", "a")
    history = theirs.get_metric_history(on_server, "loss")
    assert sorted({(point.step, point.value) for point in history}) == [(1, 3.0), (2, 2.0)]
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["books__movies"]
    assert [entry.path for entry in theirs.list_artifacts(on_server, "checkpoint")] == ["checkpoint/weights.txt"]
    [child] = theirs.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{on_server}'")
    assert child.data.metrics == {"rmse": 1.5}
    own, own_experiment = open_own(home)
    assert own.search_runs([own_experiment]) == [], "what was sent is not kept twice"
