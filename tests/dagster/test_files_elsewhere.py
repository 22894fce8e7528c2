"""Files of MLflow's runs that are not in the home: where they are put, and that a forgotten person stands in none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import copied

from ptupcdr_core.errors import TrackingError
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.tracking import stores
from ptupcdr_dagster.tracking.forgetting import GONE, forget_elsewhere
from ptupcdr_dagster.tracking.stores import EXPERIMENT, open_own, open_store


@pytest.fixture
def database(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that several machines share, as it were, with no experiment of ours yet."""
    file = copied(empty_store, Home(tmp_path / "shared")).mlflow / empty_store.name
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("delete from experiments where name = ?", [EXPERIMENT])
    uri = f"sqlite:///{file}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.mark.parametrize("named", ["", "s3://shop/runs"])
def test_files_are_kept_in_the_home_or_where_mlflows_own_variable_says(
    home: Home, database: str, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Never below the folder that a program happens to be started in, as MLflow has it."""
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", named)
    client, experiment = open_store(home)
    assert client.get_experiment(experiment).artifact_location == (named or (home.mlflow / "artifacts").as_uri())


def test_the_homes_own_store_has_its_files_beside_it(
    home: Home, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept for a server that is down has to be found, whatever a variable says of other stores."""
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "s3://shop/runs")
    client, experiment = open_own(copied(empty_store, home))
    assert client.get_experiment(experiment).artifact_location == (home.mlflow / "artifacts").as_uri()


def test_who_is_forgotten_stands_in_no_file_of_a_run(home: Home, database: str, tmp_path: Path) -> None:
    client, experiment = open_store(home)
    run = client.create_run(experiment).info.run_id
    files = tmp_path / "files"
    (files / "artifacts").mkdir(parents=True)
    pq.write_table(pa.table({"user_id": ["ann", "bob"], "item_id": ["a", "b"]}), files / "artifacts" / "people.parquet")
    (files / "input_example.json").write_text('{"user_id": "ann"}')
    (files / "report.html").write_text("<p>ann likes a")
    (files / "others.html").write_text("<p>bob likes b")
    client.log_artifacts(run, str(files), "model")
    client.log_artifact(run, str(files / "report.html"))
    assert forget_elsewhere(home, ["ann"]) == {
        f"MLflow run {run}: {name}": 1
        for name in ("model/artifacts/people.parquet", "model/input_example.json", "model/report.html", "report.html")
    }
    kept = Path(client.download_artifacts(run, "model", str(tmp_path)))
    assert pq.read_table(kept / "artifacts" / "people.parquet")["user_id"].to_pylist() == ["bob"]
    assert (kept / "report.html").read_text() == GONE
    assert (kept / "others.html").read_text() == "<p>bob likes b"
    assert forget_elsewhere(home, ["ann"]) == {}


def test_a_server_that_is_down_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.unanswered.cache_clear()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127\.0\.0\.1:1: Connection refused; files there may still"):
        forget_elsewhere(home, ["ann"])
