"""The stages of a small pair: whom they serve, what they store, and that a seed fixes all of it."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import small_lineage
from conftest import Lineage
from small_lineage import PAIR, contents, domains, hashes, read, run

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.pair_data import SIDES, PairData, load_pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.errors import ArtifactError, SettingsError, WarehouseError
from ptupcdr_core.experiments.readout import read_evaluation
from ptupcdr_core.kernels import exact_search as top_items
from ptupcdr_core.modes.rating.checkpoints import load_bridge_task, load_bridges
from ptupcdr_core.serving import recommending
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages import recommendations
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.embeddings import bridge_cold_users
from ptupcdr_core.stages.evaluation import evaluate_cold_start
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.validation import validation_errors

SCRIPT = Path(small_lineage.__file__)


@pytest.fixture(params=["calibrated", "published"])
def either(request: pytest.FixtureRequest) -> Lineage:
    return request.getfixturevalue({"calibrated": "lineage", "published": "published_lineage"}[request.param])


def data_of(lineage: Lineage) -> PairData:
    return load_pair(Warehouse(lineage.home.warehouse), PAIR)


def test_every_cold_user_has_exactly_one_row_with_the_cohort(either: Lineage) -> None:
    expected = read(
        either.home, "domain_splits", "select user_id, cohort from split_users where cohort in ('cold', 'test')"
    )
    rows = read(either.home, "bridged_embeddings", "select user_id, cohort, mode, pair from bridged_embeddings")
    assert sorted(row[:2] for row in rows) == sorted(expected)
    assert {row[2:] for row in rows} == {("rating", PAIR)}
    assert {cohort for _, cohort in expected} == {"cold", "test"}


def test_a_user_without_a_positive_source_item_is_bridged_by_the_common_bridge(either: Lineage) -> None:
    made_by = dict(read(either.home, "bridged_embeddings", "select user_id, made_by from bridged_embeddings"))
    told = {
        user
        for (user,) in read(
            either.home, "domain_splits", "select user_id from split_users join split_histories using (user_index)"
        )
    }
    assert made_by["untold"] == "common_bridge"
    assert {user for user, maker in made_by.items() if maker == "bridge"} == told & made_by.keys()


def test_embeddings_are_the_personal_bridges(either: Lineage) -> None:
    data = data_of(either)
    stored = read(either.home, "bridged_embeddings", "select embedding from bridged_embeddings order by user_id")
    bridge = load_bridges(either.home, data).personal
    expected = bridge.embed(load_bridge_task(either.home, data), data.cold_users)
    np.testing.assert_array_equal(np.array([row[0] for row in stored], np.float32), expected)
    assert np.isfinite(expected).all()


def test_the_evaluation_has_every_method_on_all_test_ratings(either: Lineage) -> None:
    common = {"common_bridge"} if either.settings.recipe == "calibrated" else set()
    frame = read_evaluation(either.home, PAIR)
    assert set(frame["method"]) == {"global_mean", "item_mean", "source_offset", "tgt", "emcdr", "ptupcdr"} | common
    assert len(frame) == frame["method"].nunique()
    ratings = Counter(
        user
        for (user,) in read(
            either.home,
            "domain_splits",
            "select user_id from split_target_ratings join split_users using (user_index) where part = 'test'",
        )
    )
    assert set(frame["users"]) == {len(ratings)}
    assert set(frame["ratings"]) == {ratings.total()}
    errors = read(either.home, "cold_start_evaluation", "select method, user_id, ratings from cold_start_errors")
    assert sorted(errors) == sorted((method, *row) for method in frame["method"] for row in ratings.items())
    assert (frame[["beta", "seed"]] == [0.2, 2020]).all(axis=None)


def test_users_errors_add_up_to_the_evaluation(either: Lineage) -> None:
    query = """select method, abs(mae - sum(absolute_error) / sum(e.ratings)) < 1e-9
               and abs(rmse - sqrt(sum(squared_error) / sum(e.ratings))) < 1e-9
               from cold_start_evaluation join cold_start_errors e using (method) group by method, mae, rmse"""
    rows = read(either.home, "cold_start_evaluation", query)
    assert len(rows) >= 6
    assert all(equal for _, equal in rows)


def test_a_cold_users_target_model_knows_no_more_than_the_item_mean(lineage: Lineage) -> None:
    rmse = read_evaluation(lineage.home, PAIR).set_index("method")["rmse"]
    assert rmse["tgt"] == pytest.approx(rmse["item_mean"], rel=0.01), "but for its raters' offsets, which it takes out"


def test_on_planted_data_the_bridges_beat_the_item_mean_and_the_published_target_model_is_a_straw_man(
    lineage: Lineage, published_lineage: Lineage
) -> None:
    calibrated, published = (
        read_evaluation(made.home, PAIR).set_index("method")["rmse"] for made in (lineage, published_lineage)
    )
    assert calibrated["ptupcdr"] < calibrated["item_mean"] < calibrated["global_mean"]
    assert calibrated["common_bridge"] < calibrated["source_offset"]
    assert published["tgt"] > 2 * published["global_mean"]


def test_the_best_epoch_by_validation_users_is_what_was_saved(published_lineage: Lineage) -> None:
    report, data = published_lineage.reports["meta_network"], data_of(published_lineage)
    task, bridges = load_bridge_task(published_lineage.home, data), load_bridges(published_lineage.home, data)
    for name, bridge in (("emcdr", bridges.emcdr), ("ptupcdr", bridges.personal)):
        curve = report.curves[f"{name}_validation_rmse"]
        assert len(curve) == published_lineage.settings.epochs
        assert report.metrics[f"{name}_epoch"] == 1 + int(np.argmin(curve))
        found = validation_errors(task, lambda users, bridge=bridge: bridge.embed(task, users)).rmse
        assert found == pytest.approx(min(curve), rel=1e-6)


def test_everything_twice_gives_identical_tables_and_weights(either: Lineage, tmp_path: Path) -> None:
    again = Home(tmp_path)
    reports = run(again, domains(either.files), either.settings)
    assert contents(again) == contents(either.home)
    for asset in ("source_model", "target_model", "meta_network"):
        files = [[file.name for file in report[asset].files] for report in (reports, either.reports)]
        assert files[0] == files[1], "the weights' file is named after its hash"
        assert reports[asset].curves == either.reports[asset].curves


def test_recommendations_in_many_blocks_parts_and_transactions_are_those_in_one(
    either: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(either.home.root, home.root)
    query = "select user_id, rank, item_id, reasons, reason_weights from recommendations order by all"
    wanted = read(home, "recommendations", query)
    length = either.settings.top_k
    monkeypatch.setattr(top_items, "RESULTS", 30 * length)
    monkeypatch.setattr(recommending, "ROWS", 7 * length)
    monkeypatch.setattr(recommendations, "COMMITTED", 20 * length)
    report = recommend_cold_users(home, PAIR, either.settings)
    found = read(home, "recommendations", query)
    assert report.metrics["recommendations"] == len(found) > 60 * length
    assert [row[:4] for row in found] == [row[:4] for row in wanted]
    np.testing.assert_allclose(
        np.concatenate([row[4] for row in found]), np.concatenate([row[4] for row in wanted]), atol=1e-5
    )


def test_another_seed_gives_other_tables(published_lineage: Lineage, tmp_path: Path) -> None:
    other = published_lineage.settings.model_copy(update={"seed": 10})
    run(Home(tmp_path), domains(published_lineage.files), other)
    first, second = contents(published_lineage.home), contents(Home(tmp_path))
    assert all(first[table] != second[table] for table in ("split_users", "bridged_embeddings", "recommendations"))


@pytest.mark.slow
def test_other_threads_another_hash_seed_and_newly_compiled_loops_give_the_same_tables(
    lineage: Lineage, published_lineage: Lineage, tmp_path: Path
) -> None:
    """This process has one thread and reads its loops from the cache; all three differ in the other one."""
    variables = ["PTUPCDR_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"]
    other = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "home", lineage.files, "2"],
        env=os.environ
        | dict.fromkeys(variables, "2")
        | {"PYTHONHASHSEED": "2", "NUMBA_CACHE_DIR": str(tmp_path / "compiled")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.splitlines() == hashes(lineage.home) + hashes(published_lineage.home)


@pytest.fixture
def own_copy(lineage: Lineage, tmp_path: Path) -> Home:
    """A copy of the calibrated lineage's results, to be changed."""
    shutil.copytree(lineage.home.root, tmp_path / "copy")
    return Home(tmp_path / "copy")


def test_models_of_another_split_are_refused(lineage: Lineage, own_copy: Home, tmp_path: Path) -> None:
    """The source is read again without its last person; the models stand as they were."""
    books, movies = domains(lineage.files)
    table = pq.read_table(books.path)
    fewer = tmp_path / "fewer.parquet"
    pq.write_table(table.filter(pc.not_equal(table["user_id"], "untold")), fewer)
    warehouse = Warehouse(own_copy.warehouse)
    ingest_domain(books.model_copy(update={"path": str(fewer)}), warehouse)
    build_split(Pair(source="books", target="movies"), books, movies, warehouse, lineage.settings)
    for stage in (bridge_cold_users, evaluate_cold_start):
        with pytest.raises(ArtifactError, match="trained on another split than the present one"):
            stage(own_copy, PAIR, lineage.settings)


def test_base_models_of_different_settings_are_refused(lineage: Lineage, own_copy: Home) -> None:
    for changed, told in (({"embedding_size": 5}, "embedding_size 5"), ({"recipe": "published"}, "recipe published")):
        other = lineage.settings.model_copy(update={**changed, "epochs": 1})
        pretrain(own_copy, PAIR, "target", other, lambda epoch, metrics: None)
        with pytest.raises(ArtifactError, match=f"source_model has .*target_model .*{told}.*with the same settings"):
            train_bridges(own_copy, PAIR, other, lambda epoch, metrics: None)


def test_bridges_between_other_base_models_are_refused(lineage: Lineage, own_copy: Home) -> None:
    """A model that was trained again has other axes: a bridge of the old ones would lead nowhere, unnoticed."""
    other = lineage.settings.model_copy(update={"seed": lineage.settings.seed + 1})
    pretrain(own_copy, PAIR, "source", other, lambda epoch, metrics: None)
    for stage in (bridge_cold_users, evaluate_cold_start):
        with pytest.raises(ArtifactError, match="between other base models"):
            stage(own_copy, PAIR, lineage.settings)


@pytest.mark.parametrize("meanwhile", ["another split", "other base models"])
def test_what_changes_while_bridges_are_trained_leaves_no_mixture(
    published_lineage: Lineage, tmp_path: Path, meanwhile: str
) -> None:
    """A run with another seed, in the middle of this one, replaces the split and the models that it trains between."""
    shutil.copytree(published_lineage.home.root, tmp_path / "copy")
    home, settings = Home(tmp_path / "copy"), published_lineage.settings.model_copy(update={"epochs": 1})
    other = settings.model_copy(update={"seed": settings.seed + 1})
    written: list[StageReport] = []

    def interrupt(epoch: int, metrics: dict[str, float]) -> None:
        if written:
            return
        if meanwhile == "another split":
            sides = domains(published_lineage.files)
            build_split(Pair(source="books", target="movies"), *sides, Warehouse(home.warehouse), other)
        written.extend(pretrain(home, PAIR, side, other, lambda *_: None) for side in SIDES)

    replaced = pytest.raises(ArtifactError, match="the split was replaced while models were trained on it")
    with replaced if meanwhile == "another split" else nullcontext():
        train_bridges(home, PAIR, settings, interrupt)
    assert len(written) == 2
    for stage in (bridge_cold_users, evaluate_cold_start):
        with pytest.raises(ArtifactError, match=f"meta_network/{PAIR}.json: trained (on|between) {meanwhile}"):
            stage(home, PAIR, settings)


def test_what_is_missing_is_named(lineage: Lineage, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="domain_splits of books__movies is not in the warehouse"):
        pretrain(Home(tmp_path), PAIR, "source", lineage.settings, lambda epoch, metrics: None)
    os.symlink(lineage.home.warehouse, tmp_path / "warehouse")
    with pytest.raises(ArtifactError, match="materialize source_model for books__movies first"):
        train_bridges(Home(tmp_path), PAIR, lineage.settings, lambda epoch, metrics: None)


def test_the_lineage_serves_nothing_that_was_chosen_on_test_users(lineage: Lineage) -> None:
    with pytest.raises(SettingsError, match="chooses epochs on the test users"):
        pretrain(lineage.home, PAIR, "source", Settings(recipe="published_test_best"), lambda epoch, metrics: None)
