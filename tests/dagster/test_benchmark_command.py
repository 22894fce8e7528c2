"""The benchmark as an asset and as a command: its options, its tables, its records, and resuming after a kill."""

import io
import json
import os
import signal
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
import typer
from catalogs import small_catalog
from programs import Project
from rich.console import Console

from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.benchmark import FACTS
from ptupcdr_dagster.cli.benchmark import chosen_grid, print_benchmark
from ptupcdr_dagster.cli.options import SpreadCommand, separated
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BENCHMARK_PAIR, BRIDGE_PAIR, INGEST_DOMAIN, benchmark_pair_job
from ptupcdr_dagster.partitions import CATALOG
from ptupcdr_dagster.running.planning import lineage
from ptupcdr_dagster.tracking.stores import open_store

PAIR = "books__movies"
GRID = ["--betas", "0.2", "0.5", "--seeds", "900", "10", "--base-models", "mf", "gmf"]
SMALL = ["--methods", "item_mean", "tgt", "emcdr", "--epochs", "2", "--embedding-size", "4"]
RATINGS = ["--modes", "rating"]
CELLS = {"honest": 2 * 2 * (1 + 2 * 2), "published": 2 * 2 * (1 + 2 * 2), "calibrated": 2 * 2 * (1 + 2)}

parsed = typer.Typer()


@parsed.command(cls=SpreadCommand)
def echo(words: list[str] = typer.Argument(None), many: list[str] = typer.Option(["9"]), one: int = 0) -> None:  # noqa: B008
    print(json.dumps([words, separated(many), one]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--many 1 2 3", [[], ["1", "2", "3"], 0]),
        ("--many 1,2 --many 3", [[], ["1", "2", "3"], 0]),
        ("--many=1 2", [[], ["1", "2"], 0]),
        ("a__b --many 1 2 --one 5", [["a__b"], ["1", "2"], 5]),
        ("--many 1 2 a__b c__d --one 5", [["a__b", "c__d"], ["1", "2"], 5]),
        ("--many 1 -- word", [["word"], ["1"], 0]),
        ("--one 5 word", [["word"], ["9"], 5]),
    ],
)
def test_an_option_takes_several_values(line: str, expected: list[object]) -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(parsed, line.split())
    assert done.exit_code == 0, done.output
    assert [json.loads(done.stdout)[0] or [], *json.loads(done.stdout)[1:]] == expected


@pytest.mark.parametrize(
    ("option", "values", "message"),
    [
        ("betas", ["2"], "--betas 2: Input should be less than 1"),
        ("betas", ["some"], "--betas some: Input should be a valid number"),
        ("base_models", ["svd"], "--base-models svd: Input should be 'mf', 'gmf' or 'dnn'"),
        ("methods", ["emcd"], "unknown method emcd"),
    ],
)
def test_a_wrong_grid_is_bad_usage(option: str, values: list[str], message: str) -> None:
    right = {"betas": ["0.2"], "seeds": ["1"], "base_models": ["mf"], "methods": ["all"], "recipes": ["honest"]}
    assert chosen_grid(Settings(), right).methods is None
    with pytest.raises(typer.BadParameter, match=message):
        chosen_grid(Settings(), right | {option: values})


def test_a_backfill_leaves_the_benchmark_out() -> None:
    assert lineage(BENCHMARK_PAIR) == ["benchmark"]
    assert "benchmark" not in lineage(BRIDGE_PAIR) + lineage(INGEST_DOMAIN)


def materialized(home: Home, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, dg.MetadataValue]:
    """Materialize the benchmark as the UI does when all assets are asked for: without any configuration."""
    monkeypatch.setenv("PTUPCDR_HOME", str(home.root))
    job = defs.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(partition_key=PAIR, asset_selection=[dg.AssetKey("benchmark")])
    assert len(done.get_asset_check_evaluations()) == len(FACTS)
    [event] = done.get_asset_materialization_events()
    return event.materialization.metadata


def test_materializing_everything_measures_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = materialized(home, monkeypatch)
    assert metadata["measured_by"].value == f"job benchmark_pair, or ptupcdr benchmark {PAIR}"
    assert not home.benchmark.exists()
    assert not Warehouse(home.warehouse).exists("benchmark", PAIR)


def test_the_job_measures() -> None:
    assert benchmark_pair_job.config == {"ops": {"benchmark": {"config": {"measure": True}}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("benchmark")
    return Project(small_catalog(root / "catalog", [("books", "movies")]), Home(root / "home"))


@pytest.fixture(scope="module")
def first(project: Project) -> list[dict]:
    done = project.run("benchmark", PAIR, *GRID, *SMALL, *RATINGS, "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line.split(" in ")[0].split() for line in lines] == [
        ["made", "books:", "raw_ratings"],
        ["made", "movies:", "raw_ratings"],
        ["made", f"{PAIR}:", "benchmark"],
    ]
    return json.loads(done.stdout)


def test_one_object_a_cell(first: list[dict]) -> None:
    assert {name: sum(row["recipe"] == name for row in first) for name in CELLS} == CELLS
    assert len(first) == sum(CELLS.values())
    keys = {"pair", "method", "recipe", "mode", "beta", "seed", "base_model", "users", "ratings", "mae", "rmse"}
    for row in first:
        assert keys <= row.keys()
        assert row["rmse"] >= row["mae"] > 0


def test_it_shows_in_dagster_and_in_mlflow(first: list[dict], project: Project) -> None:
    with project.instance() as instance:
        [run] = [run for run in instance.get_runs() if run.job_name == BENCHMARK_PAIR]
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert run.run_config["ops"]["benchmark"]["config"]["betas"] == [0.2, 0.5]
        key = dg.AssetRecordsFilter(dg.AssetKey("benchmark"), asset_partitions=[PAIR])
        event = instance.fetch_materializations(key, limit=1).records[0].asset_materialization
        assert event is not None
        assert event.metadata["dagster/row_count"].value == len(first)
        methods = {record.data["method"] for record in event.metadata["means_over_seeds"].records}
        assert methods == {"item_mean", "tgt", "emcdr"}
    client, experiment = open_store(project.home)
    [parent] = client.search_runs([experiment], "tags.`dagster.asset` = 'benchmark'")
    parts = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(parts) == 2 * 2 * (2 + 1), "β, seed, and mf, gmf or none"
    [cell] = [r for r in parts if r.data.params == {"beta": "0.2", "seed": "900", "base_model": "gmf"}]
    wanted = [r for r in first if (r["beta"], r["seed"], r["base_model"], r["method"]) == (0.2, 900, "gmf", "tgt")]
    for row in wanted:
        assert cell.data.metrics[f"{row['recipe']}/rmse_tgt"] == pytest.approx(row["rmse"])


def test_materializing_everything_leaves_what_was_measured(
    first: list[dict], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Warehouse(project.home.warehouse).file("benchmark", PAIR)
    before = file.read_bytes()
    metadata = materialized(project.home, monkeypatch)
    assert metadata["dagster/row_count"].value == len(first)
    assert "means_over_seeds" in metadata
    assert file.read_bytes() == before


@pytest.mark.slow
def test_a_killed_benchmark_goes_on_and_ends_the_same(first: list[dict], project: Project, tmp_path: Path) -> None:
    other = Project(project.catalog, Home(tmp_path / "home"))
    process = other.start("benchmark", *GRID, *SMALL, *RATINGS, "--workers", "1")
    cells, deadline = other.home.benchmark / PAIR, time.monotonic() + 100
    while len(list(cells.glob("[!.]*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {cell: cell.stat().st_mtime_ns for cell in cells.glob("[!.]*")}
    assert len(kept) >= 5
    assert not Warehouse(other.home.warehouse).exists("benchmark", PAIR), "it was killed before its end"
    done = other.run("benchmark", PAIR, *GRID, *SMALL, *RATINGS, "--json")
    assert done.returncode == 0, done.stderr
    assert kept == {cell: cell.stat().st_mtime_ns for cell in kept}
    assert [{**row, "seconds": 0} for row in json.loads(done.stdout)] == [{**row, "seconds": 0} for row in first]


def test_the_tables_in_print(first: list[dict], project: Project) -> None:
    output = io.StringIO()
    print_benchmark(Console(file=output, width=120), project.home, CATALOG.pair(PAIR))
    lines = output.getvalue().splitlines()
    start = lines.index(f"{PAIR}: honest, β = 0.2, gmf; mean ± standard deviation of 2 seeds")
    rows = {line.split()[0]: line for line in lines[start + 2 : start + 5]}
    assert rows.keys() == {"item_mean", "tgt", "emcdr"}
    cells = [r["mae"] for r in first if (r["recipe"], r["beta"], r["method"]) == ("honest", 0.2, "item_mean")]
    assert f"{statistics.mean(cells):.4f} ± {statistics.stdev(cells):.4f} *" in rows["item_mean"]
    assert "*" not in rows["tgt"]
    assert lines[-1].startswith("With a star: ")


def test_a_domain_that_fails_is_told_and_ends_with_1(tmp_path: Path) -> None:
    broken = Project(small_catalog(tmp_path / "catalog", [("books", "movies")]), Home(tmp_path / "home"))
    broken.catalog.with_name("books.csv").unlink()
    failed = broken.run("benchmark", *GRID, *SMALL, *RATINGS, "--json")
    assert failed.returncode == 1
    assert "books.csv" in failed.stderr
    assert json.loads(failed.stdout) == []


def test_lists_are_measured_and_shown_beside_the_ratings_that_are_there(first: list[dict], project: Project) -> None:
    both = ["--modes", "rating", "ranking", "--ranking-size", "4"]
    done = project.run(
        "benchmark", PAIR, "--betas", "0.2", "--seeds", "900", "10", "--base-models", "mf", *SMALL, *both
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index(f"{PAIR}: lists, β = 0.2; mean ± standard deviation of 2 seeds")
    assert lines[start + 1].split() == ["method", "ndcg_at_10", "ndcg_at_50", "coverage_at_10"]
    methods = {line.split()[0] for line in lines[start + 2 : -1]}
    assert {
        "popularity",
        "item_knn",
        "kernel_ridge",
        "cgsp",
        "joint_als",
        "emcdr",
        "common_bridge",
        "ptupcdr",
    } <= methods
    assert f"{PAIR}: calibrated, β = 0.2, mf; mean ± standard deviation of 2 seeds" in lines
    client, experiment = open_store(project.home)
    [newest, *_] = client.search_runs([experiment], "tags.`dagster.asset` = 'benchmark'", order_by=["start_time DESC"])
    parts = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{newest.info.run_id}'")
    [lists] = [r for r in parts if r.data.params == {"beta": "0.2", "seed": "900", "base_model": "ials"}]
    assert 0 <= lists.data.metrics["calibrated/ndcg_at_10_ptupcdr"] <= 1
