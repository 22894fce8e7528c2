"""The programs themselves, each a process of its own, on a small catalog."""

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from catalogs import PAIRS, SPANS, small_catalog, write_domain
from programs import QUICK, Project

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.jobs import BRIDGE_PAIR


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose first backfill found the music ratings missing."""
    root = tmp_path_factory.mktemp("project")
    catalog = small_catalog(root / "catalog", [("books", "movies"), ("movies", "music")])
    (root / "catalog" / "music.csv").unlink()
    return Project(catalog, Home(root / "home"))


@pytest.fixture(scope="module")
def first(project: Project) -> "subprocess.CompletedProcess[str]":
    return project.run("backfill", *QUICK)


@pytest.fixture(scope="module")
def second(first: "subprocess.CompletedProcess[str]", project: Project) -> "subprocess.CompletedProcess[str]":
    """The next one, when the file is there."""
    write_domain(project.catalog.with_name("music.csv"), "music", SPANS["music"])
    return project.run("backfill", *QUICK)


def test_a_failed_domain_fails_its_pairs_only(first: "subprocess.CompletedProcess[str]", project: Project) -> None:
    assert first.returncode == 1
    lines = first.stderr.splitlines()
    failed = [line for line in lines if line.startswith("failed ") and ":" in line]
    assert len(failed) == 2
    assert failed[0].startswith("failed music raw_ratings: SourceError: ")
    assert "music.csv" in failed[0]
    assert failed[1] == "failed movies__music domain_splits: not run, since raw_ratings of music failed"
    [log] = (project.home.root / "logs").glob("*.log")
    assert lines[-1] == f"The whole log: {log}"
    assert "music.csv" in log.read_text()
    assert "Traceback" not in first.stderr + first.stdout
    assert "books__movies" in first.stdout
    assert "ptupcdr" in first.stdout


def test_the_next_backfill_goes_on_where_it_stopped(
    second: "subprocess.CompletedProcess[str]", project: Project
) -> None:
    assert second.returncode == 0, second.stderr
    lines = second.stderr.splitlines()
    assert [line for line in lines if line.startswith("up to date")] == [
        "up to date books",
        "up to date movies",
        "up to date books__movies",
    ]
    assert any(line.startswith("made       music: raw_ratings") for line in lines)
    assert any(line.startswith("made       movies__music: domain_splits") for line in lines)
    with project.instance() as instance:
        assert len(instance.get_runs()) == 6


def test_evaluate_prints_the_agreed_json(first: "subprocess.CompletedProcess[str]", project: Project) -> None:
    done = project.run("evaluate", "books__movies", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["method"]: row for row in found if row["mode"] == "rating"}
    lists = {row["method"]: row for row in found if row["mode"] == "ranking"}
    assert {"item_mean", "emcdr", "ptupcdr"} <= rows.keys()
    assert {"popularity", "kernel_ridge", "item_knn", "emcdr", "ptupcdr"} <= lists.keys()
    keys = {"pair", "method", "recipe", "mode", "beta", "seed", "users", "ratings"}
    for row in found:
        assert keys <= row.keys()
        assert (row["pair"], row["beta"], row["seed"]) == ("books__movies", 0.2, 2020)
    assert all(row["rmse"] >= row["mae"] > 0 for row in rows.values())
    measures = ("ndcg_at_10", "hit_rate_at_10", "recall_at_10")
    assert all(0 <= row[name] <= 1 for row in lists.values() for name in measures)
    table = project.run("evaluate", "books__movies")
    assert table.returncode == 0
    assert f"{rows['ptupcdr']['rmse']:.4f}" in table.stdout
    assert f"{lists['ptupcdr']['ndcg_at_10']:.4f}" in table.stdout


def test_recommend_prints_ranked_items(first: "subprocess.CompletedProcess[str]", project: Project) -> None:
    done = project.run("recommend", "books__movies", "user000", "-k", "3", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert len({row["item_id"] for row in rows}) == 3
    assert all(1 <= row["stars"] <= 5 and 0 < row["likely"] < 1 for row in rows)
    assert all(
        reason["weight"] > 0 and reason["item_id"].startswith("books-") for row in rows for reason in row["reasons"]
    )
    unknown = project.run("recommend", "books__movies", "nobody")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("ptupcdr: ")
    assert "nobody" in unknown.stderr


def test_recommend_serves_people_who_were_not_in_training(
    first: "subprocess.CompletedProcess[str]", project: Project, tmp_path: Path
) -> None:
    history = tmp_path / "new.csv"
    history.write_text("user_id,item_id,rating\nann,books-02,5\nann,books-04,5\nann,lost,1\nbob,gone,4\n")
    done = project.run("recommend", "books__movies", "--history", str(history), "-k", "2", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["user_id"], row["rank"]) for row in rows] == [("ann", 1), ("ann", 2), ("bob", 1), ("bob", 2)]
    assert [row["made_by"] for row in rows] == ["bridge", "bridge", "mean", "mean"]
    assert "4 rated items of 2 people; 2 unknown in books, ignored; 1 of the people have no known item" in done.stderr
    table = project.run("recommend", "books__movies", "--history", str(history), "-k", "1")
    assert table.stdout.count("movies-") == 2


@pytest.mark.parametrize("arguments", [[], ["user000", "--history", "new.csv"]])
def test_recommend_wants_a_user_or_a_file(project: Project, arguments: list[str]) -> None:
    done = project.run("recommend", "books__movies", *arguments)
    assert done.returncode == 2
    assert "either USER or --history FILE" in done.stderr


def test_a_history_that_cannot_be_read_names_the_column(
    first: "subprocess.CompletedProcess[str]", project: Project, tmp_path: Path
) -> None:
    history = tmp_path / "new.csv"
    history.write_text("user_id,item_id,rating\nann,books-02,many\n")
    done = project.run("recommend", "books__movies", "--history", str(history))
    assert done.returncode == 1
    assert f"ptupcdr: {history}: column rating, row 1: expected a number from 1 to 5" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["evaluate", "books__moves"], ["recommend", "books__moves", "user000"]])
def test_an_unknown_pair_is_bad_usage(project: Project, command: list[str]) -> None:
    done = project.run(*command)
    assert done.returncode == 2
    assert "books__movies, movies__music" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_evaluation_says_how_to_make_it(project: Project, tmp_path: Path) -> None:
    done = Project(project.catalog, Home(tmp_path)).run("evaluate", "books__movies")
    assert done.returncode == 1
    assert "ptupcdr backfill" in done.stderr


@pytest.mark.parametrize("command", [["backfill"], ["evaluate", "books__movies"], ["up"]])
def test_a_wrong_catalog_is_one_clear_message(tmp_path: Path, command: list[str]) -> None:
    catalog = tmp_path / "domains.toml"
    catalog.write_text("[domains.books]\nformat = 'telepathy'\n")
    done = Project(catalog, Home(tmp_path)).run(*command)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ptupcdr: {catalog}")
    assert "telepathy" in done.stderr or "format" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_finds_what_is_missing(
    first: "subprocess.CompletedProcess[str]", project: Project, tmp_path: Path
) -> None:
    sound = project.run("doctor")
    assert sound.returncode == 0, sound.stdout
    assert "2 pairs" in sound.stdout
    assert "cpu, compiled loops" in sound.stdout
    broken = Project(small_catalog(tmp_path), Home(tmp_path / "home"))
    broken.catalog.with_name("books.csv").unlink()
    found = broken.run("doctor", PTUPCDR_EXECUTOR="threads", PTUPCDR_DEVICE="gpu")
    assert found.returncode == 1
    wrong = [line for line in found.stdout.splitlines() if line.startswith(" wrong")]
    assert "PTUPCDR_DEVICE=gpu" in wrong[0]
    assert "books.csv" in wrong[1]
    assert "PTUPCDR_EXECUTOR=threads" in wrong[2]
    assert not broken.home.root.exists()


def test_dagster_asset_materialize_in_several_processes(
    first: "subprocess.CompletedProcess[str]", project: Project
) -> None:
    dagster = str(Path(sys.executable).with_name("dagster"))
    selection = ["--select", "bridged_embeddings", "--partition", "books__movies"]
    config = {"resources": {"settings": {"config": {"epochs": 2, "embedding_size": 4}}}}
    configured = ["--config-json", json.dumps(config)]
    done = subprocess.run(
        [dagster, "asset", "materialize", "-m", "ptupcdr_dagster.definitions", *selection, *configured],
        env=project.environment(DAGSTER_HOME=str(project.home.dagster), PTUPCDR_EXECUTOR="multiprocess"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Launching subprocess" in done.stderr
    with project.instance() as instance:
        [newest] = instance.get_runs(limit=1)
        assert newest.status == dg.DagsterRunStatus.SUCCESS


def test_three_pairs_at_once_in_three_processes(tmp_path: Path) -> None:
    """On a home that does not exist yet: even the stores of Dagster and MLflow are first made by all of them.

    Of ratings alone, since lists stand in the same tables.
    """
    project = Project(small_catalog(tmp_path / "catalog"), Home(tmp_path / "home"))
    keys = [f"{source}__{target}" for source, target in PAIRS]
    processes = [project.start("backfill", key, *QUICK, "--mode", "rating") for key in keys]
    for process in processes:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "rmse" in output
    for log in (project.home.root / "logs").glob("*.log"):
        assert "locked" not in log.read_text()
    warehouse = Warehouse(project.home.warehouse)
    with duckdb.connect(str(warehouse.catalog), read_only=True) as connection:
        for table in ("bridged_embeddings", "cold_start_evaluation", "recommendations"):
            found = connection.execute(f"select distinct pair from {table} order by pair").fetchall()
            assert [pair for (pair,) in found] == sorted(keys)
    with project.instance() as instance:
        pairs = [run for run in instance.get_runs() if run.job_name == BRIDGE_PAIR]
        assert len(pairs) == 3
        assert all(run.status == dg.DagsterRunStatus.SUCCESS for run in pairs)
