"""The backfill in this process: what it makes, what it records, and what it finds up to date afterwards."""

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from conftest import CATALOG_PATH, PAIR, SETTINGS, tamper
from typer.testing import CliRunner

from ptupcdr_core.errors import PtupcdrError, WarehouseError
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.bundles import DEPLOYED, bundle_file
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.cli.commands import app
from ptupcdr_dagster.cli.doctor import examine
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BRIDGE_PAIR, INGEST_DOMAIN, SCORE_PAIR
from ptupcdr_dagster.partitions import CATALOG
from ptupcdr_dagster.resources import run_config
from ptupcdr_dagster.running import freshness
from ptupcdr_dagster.running.backfill import Backfill
from ptupcdr_dagster.running.partition import Report
from ptupcdr_dagster.running.planning import lineage

PAIR_ASSETS = lineage(BRIDGE_PAIR)
REFIT = SETTINGS.model_copy(update={"refit": True})
STAGES = [("raw_ratings", "books"), ("raw_ratings", "movies"), *((asset, PAIR) for asset in PAIR_ASSETS)]


@dataclass(frozen=True)
class Made:
    """A home in which one pair was backfilled, and the Dagster instance that knows of it."""

    home: Home
    instance: dg.DagsterInstance
    report: Report
    heard: list[tuple[str, str, str]]

    def plan(self, settings: Settings = SETTINGS, *, force: bool = False) -> dict[str, list[str]]:
        plan = Backfill(self.instance, self.home, settings, force).plan([CATALOG.pair(PAIR)])
        return {partition: assets for (_, partition), assets in plan.items() if assets}

    def run(self, settings: Settings = SETTINGS) -> Report:
        return run(self.instance, self.home, settings)

    def materialization(self, asset: str, partition: str) -> dg.AssetMaterialization:
        selection = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition])
        found = self.instance.fetch_materializations(selection, limit=1).records[0].asset_materialization
        assert found is not None
        return found


def run(instance: dg.DagsterInstance, home: Home, settings: Settings, heard: list | None = None) -> Report:
    def hear(*event: str) -> None:
        if heard is not None:
            heard.append(event)

    backfill = Backfill(instance, home, settings, listener=hear)
    pairs = [CATALOG.pair(PAIR)]
    return [report for _, report in backfill.run(pairs, backfill.plan(pairs))][-1]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTUPCDR_HOME", str(root / "home"))
        patch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))
        for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
            patch.delenv(name, raising=False)
        (root / "dagster").mkdir()
        with dg.DagsterInstance.local_temp(str(root / "dagster")) as instance:
            heard: list[tuple[str, str, str]] = []
            home = Home(root / "home")
            yield Made(home, instance, run(instance, home, SETTINGS, heard), heard)


@pytest.fixture
def made(original: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The backfilled home, to be looked at only."""
    monkeypatch.setenv("PTUPCDR_HOME", str(original.home.root))
    return original


@pytest.fixture
def mine(original: Made, home: Home, tmp_path: Path) -> Iterator[Made]:
    """A copy of it, to be changed."""
    shutil.copytree(original.home.root, home.root)
    shutil.copytree(original.instance.root_directory, tmp_path / "dagster")
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Made(home, instance, original.report, original.heard)


@pytest.fixture(scope="module")
def refitted(original: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A copy in which the deployed model was fitted again on everybody."""
    root = tmp_path_factory.mktemp("refitted")
    home = Home(shutil.copytree(original.home.root, root / "home"))
    shutil.copytree(original.instance.root_directory, root / "dagster")
    with dg.DagsterInstance.local_temp(str(root / "dagster")) as instance:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PTUPCDR_HOME", str(home.root))
            patch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))
            for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
                patch.delenv(name, raising=False)
            report = run(instance, home, REFIT)
        yield Made(home, instance, report, [])


def test_everything_of_the_pair_is_made_and_nothing_else(made: Made) -> None:
    assert made.report.failures == []
    assert made.report.made == {"books": ["raw_ratings"], "movies": ["raw_ratings"], PAIR: PAIR_ASSETS}
    assert Warehouse(made.home.warehouse).partitions("raw_ratings") == ["books", "movies"]


def test_progress_is_heard_of_in_order(made: Made) -> None:
    done = [(partition, asset) for partition, asset, state in made.heard if state == "done"]
    assert [step for step in done if not step[1].endswith("_checks")] == [(p, asset) for asset, p in STAGES]


def test_each_run_shows_in_dagster_with_its_settings(made: Made) -> None:
    runs = {run.tags["dagster/partition"]: run for run in made.instance.get_runs()}
    assert {partition: run.job_name for partition, run in runs.items()} == {
        "books": INGEST_DOMAIN,
        "movies": INGEST_DOMAIN,
        PAIR: BRIDGE_PAIR,
    }
    assert all(run.status == dg.DagsterRunStatus.SUCCESS for run in runs.values())
    assert all(run.run_config == run_config(SETTINGS) for run in runs.values())


def test_every_check_was_made_on_its_partition(made: Made) -> None:
    found = {
        (said.asset_check_key, run.tags["dagster/partition"]): said.passed
        for run in made.instance.get_runs()
        for entry in made.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        for said in [entry.get_dagster_event().event_specific_data]
    }
    for definition in defs.asset_checks or []:
        for spec in definition.check_specs:
            if spec.asset_key == dg.AssetKey("benchmark"):
                continue
            partition = "books" if spec.asset_key == dg.AssetKey("raw_ratings") else PAIR
            assert found[spec.key, partition] or not spec.blocking, spec.key


def test_metadata_that_a_person_would_look_at(made: Made) -> None:
    ratings = made.materialization("raw_ratings", "books").metadata
    warehouse = Warehouse(made.home.warehouse)
    with warehouse.read("raw_ratings", "books") as connection:
        assert ratings["dagster/row_count"].value == connection.table("raw_ratings").count("*").fetchall()[0][0]
    columns = [column.name for column in ratings["dagster/column_schema"].value.columns]
    assert columns == ["domain", "user_id", "item_id", "rating", "timestamp", "place"]
    assert ratings["duckdb_file"].value == str(warehouse.file("raw_ratings", "books"))
    for asset in ("source_model", "target_model"):
        metadata = made.materialization(asset, PAIR).metadata
        picture = metadata["learning_curves"].value.partition("base64,")[2].rstrip(")")
        assert base64.b64decode(picture).startswith(b"\x89PNG")
        assert Path(metadata["checkpoint"].value).is_file()
    evaluation = made.materialization("cold_start_evaluation", PAIR).metadata
    assert next(iter(evaluation)) == "evaluation", "what people look for stands first"
    methods = [record.data["method"] for record in evaluation["evaluation"].value.records]
    errors = [record.data["rmse"] for record in evaluation["evaluation"].value.records]
    assert errors == sorted(errors)
    slices = evaluation["mae_by_slice"].value
    assert {record.data["slice"] for record in slices.records} == {
        "history_length",
        "target_ratings",
        "item_popularity",
    }
    assert [column.name for column in slices.schema.columns if column.name in methods] == methods


def test_content_and_event_carry_the_same_fingerprint(made: Made) -> None:
    for asset, partition in STAGES:
        stored = freshness.stored_provenance(made.home, asset, partition)
        assert stored is not None
        noted = made.materialization(asset, partition).metadata[freshness.FINGERPRINT].value
        assert len(noted) == 64
        assert stored[freshness.FINGERPRINT] == noted, asset


def test_mlflow_has_a_run_a_stage_under_one_a_dagster_run(made: Made) -> None:
    from mlflow import MlflowClient

    from ptupcdr_dagster.tracking.stores import own_store

    client = MlflowClient(own_store(made.home))
    experiment = client.get_experiment_by_name("ptupcdr")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = {run.info.run_id: run for run in runs if run.data.tags["ptupcdr.level"] == "pipeline"}
    stages = {
        (r.data.tags["dagster.asset"], r.data.tags["dagster.partition"]): r
        for r in runs
        if "dagster.asset" in r.data.tags
    }
    assert len(parents) == 3
    [pipeline] = [run for run in parents.values() if run.data.tags["dagster.partition"] == PAIR]
    assert pipeline.data.params["beta"] == "0.2"
    assert {"rmse", "promoted"} <= set(pipeline.data.metrics), "two backfills are compared by these"
    below = [run for run in stages.values() if run.data.tags["mlflow.parentRunId"] == pipeline.info.run_id]
    assert pipeline.info.end_time >= max(run.info.start_time for run in below)
    assert "/runs/" in pipeline.data.tags["mlflow.note.content"]
    assert client.get_experiment_by_name("ptupcdr").tags["mlflow.experimentKind"] == "custom_model_development"
    bridges = stages["meta_network", PAIR].data
    assert any(name.startswith("chosen.") for name in bridges.params)
    assert not {name.removeprefix("chosen.") for name in bridges.params} & set(bridges.metrics)
    assert sorted(stages) == sorted(STAGES)
    for (asset, partition), run in stages.items():
        parent = parents[run.data.tags["mlflow.parentRunId"]]
        assert run.data.tags["dagster.run_id"] == parent.data.tags["dagster.run_id"]
        assert made.instance.get_run_by_id(run.data.tags["dagster.run_id"]) is not None
        assert run.data.tags["dagster.retry_number"] == "0"
        assert run.data.params["beta"] == "0.2"
        assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == [partition]
        assert made.materialization(asset, partition).metadata["mlflow_run"].value.endswith(f"/runs/{run.info.run_id}")


def test_a_copied_home_writes_into_itself(made: Made, mine: Made) -> None:
    from mlflow import MlflowClient

    from ptupcdr_dagster.tracking.stores import open_store, own_store

    client, experiment = open_store(mine.home)
    places = [run.info.artifact_uri for run in client.search_runs([experiment])]
    versions = client.search_model_versions(f"name = 'ptupcdr-{PAIR}'")
    places += [client.get_experiment(experiment).artifact_location, *(version.source for version in versions)]
    assert all(place.startswith(mine.home.mlflow.as_uri()) for place in places)
    assert Path(versions[0].source.removeprefix("file://")).is_dir()
    original = MlflowClient(own_store(made.home)).get_experiment_by_name("ptupcdr")
    assert original.artifact_location == (made.home.mlflow / "artifacts").as_uri()


def test_mlflow_keeps_every_epoch_and_the_checkpoint(made: Made) -> None:
    from mlflow import MlflowClient

    from ptupcdr_dagster.tracking.stores import own_store

    client = MlflowClient(own_store(made.home))
    experiment = client.get_experiment_by_name("ptupcdr")
    [run] = client.search_runs([experiment.experiment_id], "tags.`dagster.asset` = 'source_model'")
    histories = [client.get_metric_history(run.info.run_id, name) for name in run.data.metrics]
    assert max(len({metric.step for metric in history}) for history in histories) >= SETTINGS.epochs
    files = {Path(file.path).suffix for file in client.list_artifacts(run.info.run_id, "checkpoint")}
    assert files == {".json", ".safetensors"}


def test_what_was_made_is_up_to_date(made: Made) -> None:
    assert made.plan() == {}


def test_force_makes_everything_again(made: Made) -> None:
    assert made.plan(force=True) == {"books": ["raw_ratings"], "movies": ["raw_ratings"], PAIR: PAIR_ASSETS}


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ({"beta": 0.5}, PAIR_ASSETS),
        ({"seed": 1}, PAIR_ASSETS),
        ({"recipe": "published"}, PAIR_ASSETS[1:]),
        ({"top_k": 5}, ["recommendations", "pair_report"]),
        ({"search": "approximate"}, ["recommendations", "pair_report"]),
        ({"refit": True}, ["deployed_model", "recommendations", "pair_report"]),
    ],
)
def test_other_settings_ask_for_what_they_change(made: Made, changed: dict[str, object], stale: list[str]) -> None:
    assert made.plan(SETTINGS.model_copy(update=changed)) == {PAIR: stale}


def test_a_changed_source_file_asks_for_its_domain_and_pairs(made: Made) -> None:
    with changed_source("movies", lambda text: text + "someone,movies-01,3,1600000000\r\n"):
        assert made.plan() == {"movies": ["raw_ratings"], PAIR: PAIR_ASSETS}
    assert made.plan() == {}


def test_a_touched_source_file_asks_for_nothing(made: Made) -> None:
    file = CATALOG_PATH.with_name("movies.csv")
    os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**12))
    assert made.plan() == {}


def test_ratings_that_are_ingested_again_and_are_the_same_ask_for_nothing_else(mine: Made) -> None:
    """A row more that is rejected changes the file, not the ratings."""
    with changed_source("movies", lambda text: text + "someone,movies-01,99,1600000000\r\n"):
        assert mine.plan() == {"movies": ["raw_ratings"], PAIR: PAIR_ASSETS}, "nobody knows before"
        report = mine.run()
        assert report.failures == []
        assert report.made == {"movies": ["raw_ratings"]}
        assert sorted(report.up_to_date) == ["books", PAIR]
        assert mine.plan() == {}


def test_a_split_that_is_made_again_and_is_the_same_leaves_the_models_alone(
    mine: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = freshness.fingerprint

    def of_newer_code(definition: dg.AssetsDefinition, *arguments: Any) -> str:
        found = fingerprint(definition, *arguments)
        return found[::-1] if definition.key == dg.AssetKey("domain_splits") else found

    monkeypatch.setattr(freshness, "fingerprint", of_newer_code)
    report = mine.run()
    assert report.failures == []
    assert report.made == {PAIR: ["domain_splits"]}
    assert mine.plan() == {}
    kept = mine.materialization("target_model", PAIR).metadata
    assert "ratings" in kept, "its page still shows what it showed"


@pytest.mark.parametrize("asset", ["domain_splits", "target_model", "recommendations"])
def test_a_lost_file_is_made_again(mine: Made, asset: str) -> None:
    if asset in freshness.MODELS:
        next((mine.home.models / asset).glob("*.safetensors")).unlink()
    else:
        Warehouse(mine.home.warehouse).file(asset, PAIR).unlink()
    assert mine.plan() == {PAIR: [asset]}


@contextmanager
def changed_source(domain: str, change: Callable[[str], str]) -> Iterator[None]:
    """The domain's file with another content, for a while."""
    file = CATALOG_PATH.with_name(f"{domain}.csv")
    before = file.read_bytes()  # its line ends too
    file.write_bytes(change(before.decode()).encode())
    try:
        yield
    finally:
        file.write_bytes(before)


def garbled(file: Path) -> None:
    """Whole blocks of it are other bytes, as a bad disk leaves them; its head is sound."""
    content = file.read_bytes()
    file.write_bytes(content[:12_288] + b"\1" * (len(content) // 2 - 12_288) + content[len(content) // 2 :])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "no database": lambda file: file.write_bytes(b"garbage \xff" * 1000),
    "garbled": garbled,
}


@pytest.mark.parametrize(
    ("asset", "damage"),
    [
        *(("domain_splits", damage) for damage in DAMAGES),
        ("raw_ratings", "half"),
        ("deployed_model", "garbled"),
        ("target_model", "empty"),
        ("target_model", "no database"),
        ("pair_report", "no database"),
    ],
)
def test_a_damaged_file_is_named_and_planned_again(mine: Made, asset: str, damage: str) -> None:
    partition = "books" if asset == "raw_ratings" else PAIR
    if asset in freshness.MODELS:
        file = mine.home.models / asset / f"{partition}.json"
    elif asset == freshness.REPORT:
        file = mine.home.reports / f"{partition}.html"
    else:
        file = Warehouse(mine.home.warehouse).file(asset, partition)
    DAMAGES[damage](file)
    wrong = [finding for finding in examine() if not finding.ok]
    assert [finding.what for finding in wrong] == [asset]
    assert str(file) in wrong[0].found
    assert "the next `ptupcdr backfill` makes it again" in wrong[0].found
    assert mine.plan() == {partition: [asset]}


def test_the_next_backfill_makes_what_is_damaged_again(mine: Made) -> None:
    """A bare file without tables is what a full disk left in place of good ones; a power cut left empty ones."""
    file = Warehouse(mine.home.warehouse).file("domain_splits", PAIR)
    file.unlink()
    duckdb.connect(str(file)).close()
    (mine.home.models / "target_model" / f"{PAIR}.json").write_bytes(b"")
    assert not all(finding.ok for finding in examine())
    report = mine.run()
    assert report.failures == []
    assert report.made == {PAIR: ["domain_splits", "target_model"]}
    assert all(finding.ok for finding in examine())
    assert mine.plan() == {}


def test_damaged_weights_are_named_and_planned_again(mine: Made) -> None:
    [file] = (mine.home.models / "target_model").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    [wrong] = [finding for finding in examine() if not finding.ok]
    assert (wrong.what, str(file) in wrong.found) == ("target_model", True)
    assert mine.plan() == {PAIR: ["target_model"]}


def test_a_file_of_another_origin_is_made_again(mine: Made) -> None:
    tamper(Warehouse(mine.home.warehouse).file("recommendations", PAIR), "update provenance set fingerprint = 'other'")
    assert mine.plan() == {PAIR: ["recommendations"]}


def test_a_failed_blocking_check_is_not_up_to_date(mine: Made) -> None:
    failed = dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("domain_splits"),
        check_name="cohorts_are_disjoint",
        passed=False,
        metadata={},
        partition=PAIR,
    )
    mine.instance.report_runless_asset_event(failed)
    assert mine.plan() == {PAIR: ["domain_splits"]}


def test_a_failed_stage_is_reported_and_the_next_backfill_goes_on_there(
    mine: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    from ptupcdr_dagster.tracking.stores import own_store

    def fail(*arguments: object, **options: object) -> None:
        raise PtupcdrError("the disk is full: make room")

    settings = SETTINGS.model_copy(update={"beta": 0.3})
    with monkeypatch.context() as patch:
        patch.setattr("ptupcdr_core.stages.embeddings.bridge_cold_users", fail)
        report = mine.run(settings)
    [finding] = report.failures
    assert (finding.partition, finding.asset) == (PAIR, "bridged_embeddings")
    assert finding.message == "PtupcdrError: the disk is full: make room"
    hanging_on_it = ["bridged_embeddings", "fine_tuned_embeddings", "warm_start_evaluation", "pair_report"]
    assert [asset for asset in PAIR_ASSETS if asset not in report.made[PAIR]] == [
        asset for asset in PAIR_ASSETS if asset in hanging_on_it
    ]
    client = MlflowClient(own_store(mine.home))
    [run] = client.search_runs(["1"], "attributes.status = 'FAILED'")
    assert run.data.tags["dagster.asset"] == "bridged_embeddings"
    assert "the disk is full" in run.data.tags["error"]
    assert mine.plan(settings) == {PAIR: [asset for asset in PAIR_ASSETS if asset in hanging_on_it]}
    assert mine.run(settings).failures == []
    assert mine.plan(settings) == {}


def test_a_night_makes_lists_for_whoever_came_and_trains_nothing(mine: Made) -> None:
    """Whatever the settings: they are those of a training."""
    settings = SETTINGS.model_copy(update={"beta": 0.5, "embedding_size": 3})
    came = "".join(f"came-today,books-{item:02d},5,1700000000\r\n" for item in range(0, 12, 2))
    with changed_source("books", lambda text: text + came):
        backfill = Backfill(mine.instance, mine.home, settings, job=SCORE_PAIR)
        plan = backfill.plan([CATALOG.pair(PAIR)])
        assert {key[1]: assets for key, assets in plan.items()} == {
            "books": ["raw_ratings"],
            "movies": [],
            PAIR: ["recommendations"],
        }
        *_, (_, report) = backfill.run([CATALOG.pair(PAIR)], plan)
        assert report.failures == []
        assert report.made == {"books": ["raw_ratings"], PAIR: ["recommendations"]}
        with Warehouse(mine.home.warehouse).read("recommendations", PAIR) as connection:
            query = "select count(*) from recommendations where user_id = 'came-today'"
            assert connection.execute(query).fetchall() == [(SETTINGS.top_k,)]
        assert not any(Backfill(mine.instance, mine.home, settings, job=SCORE_PAIR).plan([CATALOG.pair(PAIR)]).values())
        assert mine.plan() == {PAIR: PAIR_ASSETS}, "the week's training is due"
    noted = mine.materialization("recommendations", PAIR).metadata
    assert Path(str(noted["duckdb_file"].value)).is_file()


def test_a_refit_makes_what_is_deployed_and_nothing_that_is_measured(
    refitted: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PTUPCDR_HOME", str(refitted.home.root))
    assert refitted.report.failures == []
    assert refitted.report.made == {PAIR: ["deployed_model", "recommendations", "pair_report"]}
    assert refitted.plan(REFIT) == {}
    metadata = refitted.materialization("deployed_model", PAIR).metadata
    before = refitted.materialization("target_model", PAIR).metadata["ratings"].value
    assert metadata["target_ratings_rating"].value > before
    bundle = bundle_file(refitted.home, DEPLOYED, PAIR)
    assert Path(metadata["checkpoint"].value) == bundle
    away = shutil.move(bundle, tmp_path / bundle.name)
    assert refitted.plan(REFIT) == {PAIR: ["deployed_model"]}
    shutil.move(away, bundle)


def test_the_command_line_recommends_from_the_refitted_models(
    made: Made, refitted: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Warehouse(made.home.warehouse).read("bridged_embeddings", PAIR) as connection:
        [(user,)] = connection.execute("select min(user_id) from bridged_embeddings where cohort = 'test'").fetchall()
    history = tmp_path / "new.csv"
    history.write_text("user_id,item_id,rating\nnew,books-00,5\nnew,books-03,1\n")

    def answers() -> list[list[dict[str, object]]]:
        asked = (["recommend", PAIR, user, "--json"], ["recommend", PAIR, "--history", str(history), "--json"])
        return [json.loads(CliRunner().invoke(app, command).stdout) for command in asked]

    before = answers()
    monkeypatch.setenv("PTUPCDR_HOME", str(refitted.home.root))
    after = answers()
    for first, second in zip(before, after, strict=True):
        assert [row["score"] for row in first] != [row["score"] for row in second]
    with Warehouse(refitted.home.warehouse).read("recommendations", PAIR) as connection:
        stored = connection.execute(
            "select item_id, score from recommendations where user_id = ? order by rank", [user]
        ).fetchall()
    assert [row["item_id"] for row in after[0]] == [item for item, _ in stored]
    assert [row["score"] for row in after[0]] == pytest.approx([score for _, score in stored], rel=1e-4)


def test_a_failed_check_holds_back_what_follows(mine: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from ptupcdr_core.stages import row_engine

    build = row_engine.build_split

    def leak(pair, source, target, warehouse, *rest):  # type: ignore[no-untyped-def]
        report = build(pair, source, target, warehouse, *rest)
        tamper(warehouse.file("domain_splits", pair.key), "update split_target_ratings set part = 'train'")
        return report

    monkeypatch.setattr(row_engine, "build_split", leak)
    report = mine.run(SETTINGS.model_copy(update={"seed": 3}))
    [finding] = report.failures
    assert (finding.partition, finding.asset) == (PAIR, "domain_splits")
    assert finding.message.startswith("no_test_user_in_target_training: ")
    assert report.made[PAIR] == ["domain_splits"]


def test_a_stage_refuses_upstream_content_of_other_settings(made: Made) -> None:
    [source_model] = [a for a in defs.assets or [] if a.key == dg.AssetKey("source_model")]
    with pytest.raises(WarehouseError, match=r"domain_splits of books__movies was made with beta=0\.2, .* beta=0\.4"):
        freshness.current_fingerprint(source_model, made.home, PAIR, SETTINGS.model_copy(update={"beta": 0.4}))
