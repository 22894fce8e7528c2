"""`ptupcdr tune` as a program: one line per trial, runs in MLflow, a file that a backfill takes, and resuming."""

import json
import subprocess
from pathlib import Path

import pytest
from catalogs import small_catalog
from conftest import copied
from programs import QUICK, Project

from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.settings_file import read_settings_file
from ptupcdr_dagster.tracking.stores import open_store

PAIR = "books__movies"
START = Settings(epochs=2, embedding_size=4)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Project:
    root = tmp_path_factory.mktemp("tuned")
    return Project(small_catalog(root / "catalog", [("books", "movies")]), copied(empty_store, Home(root / "home")))


@pytest.fixture(scope="module")
def searches(project: Project) -> "list[subprocess.CompletedProcess[str]]":
    """Two trials, and then a third."""
    return [
        project.run("tune", PAIR, *QUICK, "--trials", "2"),
        project.run("tune", PAIR, *QUICK, "--trials", "3", "--json"),
    ]


def test_each_trial_has_a_line_with_the_time_left(searches: "list[subprocess.CompletedProcess[str]]") -> None:
    assert [done.returncode for done in searches] == [0, 0], searches[0].stderr + searches[1].stderr
    first, second = (done.stderr.splitlines() for done in searches)
    assert [line.partition(":")[0] for line in first] == ["1 of 2", "2 of 2"]
    assert all("rmse" in line and " left; embedding_size=" in line for line in first)
    assert [line.partition(":")[0] for line in second] == ["2 of 3", "3 of 3"], "finished trials are not trained again"
    assert "from an earlier search" in second[0]


def test_best_and_start_stand_in_one_table(
    searches: "list[subprocess.CompletedProcess[str]]", project: Project
) -> None:
    assert f"ptupcdr backfill {PAIR} --settings-file {project.home.tuning / PAIR}.toml" in searches[0].stdout
    start, best = json.loads(searches[1].stdout)
    assert (start["settings"], start["trial"], best["settings"]) == ("start", 0, "best")
    assert 0 < best["rmse"] <= start["rmse"]


def test_trials_are_runs_below_one_parent(searches: "list[subprocess.CompletedProcess[str]]", project: Project) -> None:
    client, experiment = open_store(project.home)
    [parent] = client.search_runs([experiment], "tags.`ptupcdr.objective` = 'rating'")
    trials = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(run.info.run_name for run in trials) == ["trial 0", "trial 1", "trial 2"]
    errors = {run.info.run_name: run.data.metrics["validation_rmse"] for run in trials}
    start, best = json.loads(searches[1].stdout)
    assert errors["trial 0"] == pytest.approx(start["rmse"])
    assert min(errors.values()) == errors[f"trial {best['trial']}"] == parent.data.metrics["best_validation_rmse"]
    assert parent.data.params["epochs"] == "2"
    assert {run.info.status for run in [parent, *trials]} == {"FINISHED"}
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == [f"{PAIR}.toml"]


def test_the_file_is_for_backfill(searches: "list[subprocess.CompletedProcess[str]]", project: Project) -> None:
    found = Settings(**read_settings_file(project.home.tuning / f"{PAIR}.toml"))
    kept = {"beta", "seed", "recipe", "validation_fraction"}
    assert found.model_dump(include=kept) == START.model_dump(include=kept)


@pytest.fixture(scope="module")
def by_lists(
    searches: "list[subprocess.CompletedProcess[str]]", project: Project
) -> "list[subprocess.CompletedProcess[str]]":
    """Two trials from what the search by ratings found, and then a third."""
    start = ["--objective", "ranking", "--settings-file", f"{project.home.tuning / PAIR}.toml", "--ranking-size", "8"]
    return [
        project.run("tune", PAIR, *start, "--trials", "2"),
        project.run("tune", PAIR, *start, "--trials", "3", "--json"),
    ]


def test_a_search_by_lists_goes_on_and_leaves_a_file_of_its_own(
    by_lists: "list[subprocess.CompletedProcess[str]]", project: Project
) -> None:
    assert [done.returncode for done in by_lists] == [0, 0], by_lists[0].stderr + by_lists[1].stderr
    assert [line.partition(":")[0] for done in by_lists for line in done.stderr.splitlines()] == [
        "1 of 2", "2 of 2", "2 of 3", "3 of 3"
    ]  # fmt: skip
    file = project.home.tuning / f"{PAIR}.ranking.toml"
    assert "ranked lists on validation users" in by_lists[0].stdout
    assert f"ptupcdr backfill {PAIR} --settings-file {file}" in by_lists[0].stdout
    start, best = json.loads(by_lists[1].stdout)
    assert start["ndcg_at_10"] <= best["ndcg_at_10"] <= 1
    before, found = (Settings(**read_settings_file(f)) for f in (project.home.tuning / f"{PAIR}.toml", file))
    searched = {"ranking_size", "history_length", "positive_above"}
    assert found.model_dump(exclude=searched) == before.model_dump(exclude=searched)


def test_searches_by_lists_are_runs_of_their_own(
    by_lists: "list[subprocess.CompletedProcess[str]]", project: Project
) -> None:
    client, experiment = open_store(project.home)
    [parent] = client.search_runs([experiment], "tags.`ptupcdr.objective` = 'ranking'")
    trials = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    gains = {run.info.run_name: run.data.metrics["validation_ndcg_at_10"] for run in trials}
    _, best = json.loads(by_lists[1].stdout)
    assert gains.keys() == {"trial 0", "trial 1", "trial 2"}
    assert max(gains.values()) == gains[f"trial {best['trial']}"] == parent.data.metrics["best_validation_ndcg_at_10"]


def test_lists_that_are_not_made_cannot_be_searched_by(project: Project) -> None:
    done = project.run("tune", PAIR, "--objective", "ranking", "--recipe", "honest")
    assert done.returncode == 1
    assert "these settings have no ranked lists" in done.stderr


def test_ratings_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    catalog = small_catalog(tmp_path / "catalog", [("books", "movies")])
    (tmp_path / "catalog" / "movies.csv").unlink()
    done = Project(catalog, Home(tmp_path / "home")).run("tune", PAIR, "--trials", "1")
    assert done.returncode == 1
    assert "failed movies raw_ratings: SourceError: " in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "home" / "tuning").exists()
