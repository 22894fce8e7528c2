"""What a killed run leaves is tidied up by the next command, and what is old is thrown away by `ptupcdr prune`."""

import json
import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import optuna
import pytest
from conftest import CATALOG_PATH, SETTINGS
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from typer.testing import CliRunner

from ptupcdr_core.catalog import Catalog, Domain
from ptupcdr_core.errors import StorageError
from ptupcdr_core.experiments.studies import prune_studies
from ptupcdr_core.sources.download import local_copy, part_of
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import leftovers
from ptupcdr_core.store.owner import Owner
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.cli.commands import app
from ptupcdr_dagster.cli.doctor import examine
from ptupcdr_dagster.jobs import INGEST_DOMAIN
from ptupcdr_dagster.resources import run_config
from ptupcdr_dagster.running.instance import open_instance
from ptupcdr_dagster.running.partition import Report, Work
from ptupcdr_dagster.running.pruning import runs_in_use, unused_downloads, unused_reads
from ptupcdr_dagster.running.side_by_side import run_side_by_side
from ptupcdr_dagster.running.tidying import Tidied, dead_runs, tidy
from ptupcdr_dagster.tracking.runs import OWNER as PROCESS
from ptupcdr_dagster.tracking.stores import open_own

BOOKS = Work(INGEST_DOMAIN, "books", SETTINGS, run_config(SETTINGS), force=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("PTUPCDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))
    for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Home(tmp_path / "home")


def ingest(home: Home, *, killed: bool = False) -> Report:
    def hear(_partition: str, asset: str, state: str) -> None:
        if killed and (asset, state) == ("raw_ratings", "started"):
            [process] = multiprocessing.active_children()
            os.kill(int(process.pid or 0), signal.SIGKILL)

    [(_, report)] = run_side_by_side(home, [BOOKS], 1, hear)
    return report


def test_doctor_looks_at_the_instance_that_the_environment_names(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "elsewhere"))
    assert "past" not in {finding.what for finding in examine()}, "nothing was made yet"
    with open_instance(home) as instance:
        instance.create_run_for_job(_nothing)
    assert {finding.what: finding.found for finding in examine()}["past"].startswith("1 Dagster runs ")


def test_a_damaged_store_is_named_with_the_remedy(home: Home) -> None:
    """That of MLflow, then that of Dagster: by doctor, beside all else that it finds, and by whoever opens them."""
    with open_instance(home):
        (home.mlflow / "mlflow.db").parent.mkdir(parents=True)
    for database, opened in (
        (home.mlflow / "mlflow.db", lambda: open_own(home)),
        (home.dagster / "schedules" / "schedules.db", lambda: open_instance(home)),
    ):
        database.write_text("no database")
        told = f"{database.relative_to(home.root).parts[0]} cannot be used (file is not a database)"
        wrong = {finding.what: finding.found for finding in examine() if not finding.ok}
        assert told in wrong["past"] or told in wrong["mlflow store"]
        with pytest.raises(StorageError, match="move it away if it is damaged"):
            opened()


def test_after_a_kill_and_after_a_month(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """One home through its life, since every start of a process costs seconds."""
    with open_instance(home) as instance:
        assert "exit code -9" in ingest(home, killed=True).failures[0].message
        living = instance.create_run_for_job(
            _nothing, tags={"ptupcdr/process": "1-1-00000000"}, status=dg.DagsterRunStatus.STARTED
        )
        [dead] = dead_runs(instance)
        assert {f.what: f.found for f in examine()}["killed"].startswith("1 runs, ")
        client, experiment = open_own(home)
        # As a search leaves one, which belongs to no Dagster run.
        present = Owner.present()
        gone = str(Owner(present.pid, present.started - 1000, present.host))
        client.create_run(experiment, tags={PROCESS: gone, "dagster.run_id": living.run_id})
        tidied = tidy(home, instance)
        assert tidied.runs == 1
        assert tidy(home, instance) == Tidied()
        client.create_run(experiment, tags={PROCESS: gone, "dagster.run_id": living.run_id})
        assert tidy(home, instance).tracked == 1, "even if no Dagster run is dead"
        assert tidy(home, instance) == Tidied()
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(living.run_id).status == dg.DagsterRunStatus.STARTED, "of another machine"
        assert {run.info.status for run in client.search_runs([experiment])} <= {"FAILED", "FINISHED"}
        assert leftovers(home) == []
        for _ in range(2):
            assert ingest(home).failures == []
        in_use = runs_in_use(instance)
        assert len(in_use) == 1
        monkeypatch.setenv("COLUMNS", "200")
        tried = CliRunner().invoke(app, ["prune", "--older-than", "0", "--dry-run"])
        assert tried.exit_code == 0, tried.output
        assert len(instance.get_runs()) == 4, "a dry run throws nothing away"
        assert CliRunner().invoke(app, ["prune", "--older-than", "0"]).exit_code == 0
        assert {run.run_id for run in instance.get_runs()} == in_use | {living.run_id}
        events = {file.stem for file in (home.dagster / "history" / "runs").glob("*-*.db")}
        assert events == in_use | {living.run_id} or events == in_use
        with closing(sqlite3.connect(home.dagster / "history" / "runs" / "index.db")) as database:
            told = database.execute("select distinct run_id from asset_check_executions").fetchall()
        assert {run_id for (run_id,) in told} == in_use, "what checks said in runs that are gone goes with them"
        runs = client.search_runs([experiment])
        assert {run.data.tags["dagster.run_id"] for run in runs} == in_use
        with closing(sqlite3.connect(home.mlflow / "mlflow.db")) as database:
            gone = "select count(*) from inputs where destination_id not in (select run_uuid from runs)"
            assert database.execute(gone).fetchall() == [(0,)], "what MLflow keeps of runs that are gone"
            database.executescript(
                "insert into registered_models (name) values ('m');"
                "insert into model_versions (name, version, current_stage) values ('m', 1, 'Deleted_Internal'), "
                "('m', 2, 'None');"
                "insert into model_version_tags (key, name, version) values ('k', 'm', 1), ('k', 'm', 2)"
            )
        assert CliRunner().invoke(app, ["prune", "--older-than", "0"]).exit_code == 0
        with closing(sqlite3.connect(home.mlflow / "mlflow.db")) as database:
            for table in ("model_versions", "model_version_tags"):
                assert database.execute(f"select version from {table}").fetchall() == [(2,)], "nor deleted versions"
        assert len(list((home.mlflow / "artifacts").glob("*"))) <= len(runs)
        assert instance.get_materialized_partitions(dg.AssetKey("raw_ratings")) == {"books"}
        assert Warehouse(home.warehouse).exists("raw_ratings", "books")
        assert json.dumps(sorted(f.what for f in examine() if f.what == "past")) == '["past"]'


def test_downloads_and_reads_of_what_the_catalog_no_longer_names_are_found(tmp_path: Path) -> None:
    """Whole ones, and those that broke off with the mark of their version; what is named stays."""
    home, address = Home(tmp_path), "http://127.0.0.1:1/books.csv"
    named = Domain(name="books", format="csv", path=address)
    catalog = Catalog(path=tmp_path / "domains.toml", domains=(named,), pairs=())
    copies = [local_copy(of, home.downloads) for of in (address, "http://127.0.0.1:1/plays.csv")]
    for folder in (home.downloads, home.reads / "books", home.reads / "plays"):
        folder.mkdir(parents=True)
    for copy in copies:
        for file in (copy, part_of(copy), part_of(copy).with_name(f"{part_of(copy).name}.version")):
            file.write_text("content")
    assert len(unused_downloads(home, catalog)) == 3
    assert all("plays" in path.name for path in unused_downloads(home, catalog))
    assert unused_reads(home, catalog) == [home.reads / "plays"]


@dg.job
def _nothing() -> None:
    pass


def test_studies_without_a_trial_for_long_are_dropped(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.tuning.mkdir()
    journal = home.tuning / "a__b.journal"
    storage = JournalStorage(JournalFileBackend(str(journal)))
    moments = []
    for name in ("old", "new"):
        study = optuna.create_study(storage=storage, study_name=name)
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, 0.5)
        started = study.get_trials()[0].datetime_start
        assert started is not None
        moments.append(started.timestamp())
    assert prune_studies(home, "a__b", moments[1], dry_run=True) == 1
    size = journal.stat().st_size
    assert prune_studies(home, "a__b", moments[1]) == 1
    assert journal.stat().st_size < size
    left = JournalStorage(JournalFileBackend(str(journal)))
    assert optuna.study.get_all_study_names(left) == ["new"]
    assert [trial.value for trial in optuna.load_study(study_name="new", storage=left).get_trials()] == [0.5]
