"""The setting refit: recommendations come from models that know everybody, and no measured number ever does."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from conftest import Lineage
from small_lineage import PAIR, SETTINGS, contents, domains, read, run
from small_pair import calibrated_models, small_pair

from ptupcdr_core.data.pair_data import PairData, load_outline, load_pair
from ptupcdr_core.data.people import people_of
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.kernels.exact_search import top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.modes.checkpoints import load_bridge_task, load_bridges, load_model
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_ranking_task, load_target
from ptupcdr_core.report.page import make_report
from ptupcdr_core.serving.deployment import Deployment
from ptupcdr_core.serving.inference import recommend, recommend_new
from ptupcdr_core.serving.serving import load_serving
from ptupcdr_core.serving.snapshot import Snapshot
from ptupcdr_core.serving.unseen import unseen_items
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages import stages
from ptupcdr_core.stages import warm_start as stages_warm_start
from ptupcdr_core.stages.deployment import deploy
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.calibrated import CalibratedModel

RANKS = SETTINGS.model_copy(update={"mode": "both", "ranking_size": 16})
MEASURED = ("bridged_embeddings", "cold_start_evaluation", "cold_start_errors", "fine_tuned_embeddings",
            "warm_start_evaluation", "warm_start_errors")  # fmt: skip
RATED = (
    "select user_id, item_id from split_target_ratings join split_users using (user_index) "
    "join split_target_items using (item_index) where part = 'test'"
)


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


@dataclass(frozen=True)
class Refitted:
    """The same pair with the evaluated models deployed, and with others."""

    honest: Home
    home: Home
    settings: Settings

    @property
    def data(self) -> PairData:
        return load_pair(Warehouse(self.home.warehouse), PAIR)

    @property
    def mode(self) -> str:
        return self.settings.modes[-1]


@pytest.fixture(scope="module", params=["rating", "both"])
def refitted(request: pytest.FixtureRequest, lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Refitted:
    honest, settings = lineage.home, SETTINGS
    if request.param == "both":
        honest, settings = Home(tmp_path_factory.mktemp("ranked")), RANKS
        run(honest, domains(lineage.files), settings)
    home, settings = Home(tmp_path_factory.mktemp("refit") / "home"), settings.model_copy(update={"refit": True})
    shutil.copytree(honest.root, home.root)
    deploy(home, PAIR, settings, silent)
    stages.recommend_cold_users(home, PAIR, settings)
    return Refitted(honest, home, settings)


def test_whatever_is_measured_stays_as_it_was(refitted: Refitted, tmp_path: Path) -> None:
    """Everything that measures is made once more, beside the models that know the answers."""
    again = Home(tmp_path / "again")
    shutil.copytree(refitted.home.root, again.root)
    stages.bridge_cold_users(again, PAIR, refitted.settings)
    stages.evaluate_cold_start(again, PAIR, refitted.settings)
    stages_warm_start.fine_tune(again, PAIR, refitted.settings)
    stages_warm_start.evaluate_warm_start(again, PAIR, refitted.settings)
    before, after = contents(refitted.honest), contents(again)
    for table in MEASURED:
        assert after[table] == before[table], table
    assert after["recommendations"] != before["recommendations"]
    page, other = (make_report(home, PAIR, refitted.settings).path.read_text() for home in (refitted.honest, again))
    assert page == other


def test_the_gate_judges_the_evaluated_model(refitted: Refitted) -> None:
    snapshots = [Snapshot.take(home, PAIR, "rating") for home in (refitted.honest, refitted.home)]
    for field in dataclasses.fields(Snapshot):
        mine, theirs = (getattr(snapshot, field.name) for snapshot in snapshots)
        if isinstance(mine, TargetItems):
            mine, theirs = (
                np.column_stack([mine.vectors, mine.offset]),
                np.column_stack([theirs.vectors, theirs.offset]),
            )
        np.testing.assert_array_equal(mine, theirs)


def test_the_evaluated_target_model_knows_no_held_out_rating_and_the_refitted_one_all(refitted: Refitted) -> None:
    data = refitted.data
    held_out = np.concatenate([data.cohorts["test"], data.cohorts["validation"]])
    counts = []
    for home in (refitted.home, refitted.home.with_refitted_models()):
        model = load_model(home, PAIR, "target", data.vocabulary)
        assert isinstance(model, CalibratedModel)
        counts.append(model.item_counts.sum())
        assert model.user_counts[held_out].any() == model.user_embedding[held_out].any() == home.refitted
        if refitted.settings.ranks:
            factors = load_target(home, data)
            assert factors.item_counts.sum() == counts[-1]
            assert factors.user_embedding[held_out].any() == home.refitted
    assert counts == [
        len(data.target_train),
        len(data.target_train) + len(data.target_validation) + len(data.target_test),
    ]
    query = "select refitted, bridge_users, target_ratings from deployed_model"
    overlapping = len(data.cohorts["bridge"]) + len(held_out)
    assert read(refitted.home, "deployed_model", query) == [(True, overlapping, counts[1])]
    assert read(refitted.honest, "deployed_model", query) == [(False, len(data.cohorts["bridge"]), counts[0])]


def test_an_item_that_only_a_test_user_rated_gets_a_vector_once_nobody_is_held_out() -> None:
    data = small_pair()
    item = int(data.target_test.items[0])
    train, validation = (part.where(part.items != item) for part in (data.target_train, data.target_validation))
    data = dataclasses.replace(data, target_train=train, target_validation=validation)
    everybody = data.with_nobody_held_out()
    vectors = [calibrated_models(known)[1].item_embedding[item] for known in (data, everybody)]
    assert not vectors[0].any()
    assert vectors[1].any()
    rows = list(zip(everybody.target_train.users.tolist(), everybody.target_train.items.tolist(), strict=True))
    assert rows == sorted(rows)
    assert len(rows) == len(train) + len(validation) + len(data.target_test)
    assert len(everybody.target_test) == len(everybody.target_validation) == 0
    overlapping = [user for name in ("test", "validation", "bridge") for user in data.cohorts[name]]
    assert everybody.cohorts["bridge"].tolist() == sorted(overlapping)


def test_bridges_are_fitted_again_with_what_was_chosen(refitted: Refitted) -> None:
    data, new = refitted.data, refitted.home.with_refitted_models()
    before, after = load_bridges(refitted.home, data), load_bridges(new, data)
    assert after.chosen == before.chosen
    assert not np.array_equal(after.personal.common, before.personal.common)
    if refitted.settings.ranks:
        ranking, again = load_ranking_bridges(refitted.home, data), load_ranking_bridges(new, data)
        assert again.chosen == ranking.chosen
        assert not np.array_equal(again.personal.common, ranking.personal.common)


def test_recommendations_come_from_the_refitted_bridge(refitted: Refitted) -> None:
    """Exact lists by hand: all scores of every cold-start user, seen items left out."""
    new, data = refitted.home.with_refitted_models(), refitted.data
    everybody = data.with_nobody_held_out()
    if refitted.settings.ranks:
        task, personal = load_ranking_task(new, everybody), load_ranking_bridges(new, data).personal
    else:
        task, personal = load_bridge_task(new, everybody), load_bridges(new, data).personal
    users = data.cold_users
    embeddings = personal.embed(task, users)
    query = f"select embedding from deployed_embeddings where mode = '{refitted.mode}' order by user_id"
    stored = [row[0] for row in read(refitted.home, "deployed_model", query)]
    np.testing.assert_array_equal(np.array(stored, np.float32), embeddings)
    scores = embeddings @ task.target.vectors.T + task.target.offset
    scores[:, 0] = -np.inf
    scores[np.searchsorted(users, data.target_test.users), data.target_test.items] = -np.inf
    rows = read(
        refitted.home,
        "recommendations",
        "select list(item_id order by rank) from recommendations group by user_id order by user_id",
    )
    ids = [
        item for (item,) in read(refitted.home, "domain_splits", "select item_id from split_target_items order by 1")
    ]
    best = np.argsort(-scores, axis=1, kind="stable")[:, : refitted.settings.top_k]
    differing = sum(items != [ids[item - 1] for item in wanted] for (items,), wanted in zip(rows, best, strict=True))
    assert differing <= 0.01 * len(users), "equal scores to the last bit may change places"


def test_what_test_users_have_rated_is_left_out_after_the_refit_alone(refitted: Refitted) -> None:
    rated = set(read(refitted.home, "domain_splits", RATED))
    lists = "select user_id, item_id from recommendations"
    found, free = (set(read(home, "recommendations", lists)) for home in (refitted.home, refitted.honest))
    assert not found & rated
    assert free & rated, "evaluated lists may find what was held out"
    lengths = read(refitted.home, "recommendations", "select distinct count(*) from recommendations group by user_id")
    assert lengths == [(refitted.settings.top_k,)]


def test_a_former_test_user_asked_for_gets_the_stored_list(refitted: Refitted) -> None:
    query = (
        "select user_id, list(item_id order by rank) from recommendations where cohort = 'test' "
        "group by user_id order by user_id limit 5"
    )
    for user, items in read(refitted.home, "recommendations", query):
        assert [answer.item_id for answer in recommend(refitted.home, PAIR, user, len(items))] == items
    rated = [item for owner, item in read(refitted.home, "domain_splits", RATED) if owner == user]
    everything = {answer.item_id for answer in recommend(refitted.home, PAIR, user, 10_000)}
    assert not everything & set(rated)
    assert len(everything) == refitted.data.target_item_count - len(rated)


def test_new_people_are_served_by_the_refitted_models(refitted: Refitted) -> None:
    ratings = pa.table(
        {"user_id": ["new"] * 3, "item_id": [f"books-{n:04d}" for n in (0, 1, 2)], "rating": [5.0, 1.0, 4.0]}
    )
    answers = [recommend_new(home, PAIR, ratings, 5, users=["silent"]) for home in (refitted.home, refitted.honest)]
    assert not np.allclose(answers[0].embeddings, answers[1].embeddings)
    serving, warehouse = (
        load_serving(refitted.home.with_refitted_models(), PAIR, refitted.mode),
        refitted.home.warehouse,
    )
    users = refitted.data.cohorts["test"][:20]
    length = load_outline(Warehouse(warehouse), PAIR).history_length
    folded, _ = serving.embed(people_of(Warehouse(warehouse), PAIR, users, length))
    ids = dict(read(refitted.home, "domain_splits", "select user_index, user_id from split_users"))
    for user, embedding in zip(users, folded, strict=True):
        rows = Deployment.of(refitted.home, PAIR).users(refitted.mode, ids[user])
        [own] = rows["embedding"].to_pylist()
        assert embedding @ own / np.linalg.norm(embedding) / np.linalg.norm(own) >= 0.98
    assert answers[0].made_by.tolist() == ["bridge", "mean"]
    if not refitted.settings.ranks:
        data = refitted.data.with_nobody_held_out()
        task = load_bridge_task(refitted.home.with_refitted_models(), data)
        mean = task.target_user_vectors[np.unique(data.target_train.users)].mean(0)
        np.testing.assert_allclose(answers[0].embeddings[1], mean, atol=1e-5)


def test_the_evaluated_models_can_be_deployed_again(refitted: Refitted, tmp_path: Path) -> None:
    back = Home(tmp_path / "back")
    shutil.copytree(refitted.home.root, back.root)
    settings = refitted.settings.model_copy(update={"refit": False})
    deploy(back, PAIR, settings, silent)
    stages.recommend_cold_users(back, PAIR, settings)
    assert contents(back) == contents(refitted.honest)


def test_a_refit_for_another_split_is_refused(refitted: Refitted, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    shutil.copytree(refitted.home.root, other.root)
    with duckdb.connect(str(Warehouse(other.warehouse).file("domain_splits", PAIR))) as connection:
        connection.execute("update split_summary set vocabulary = 'another'")
    with pytest.raises(WarehouseError, match="present split; materialize deployed_model for books__movies again"):
        recommend(other, PAIR, "untold")


def test_the_next_training_leaves_the_deployed_models_whole(refitted: Refitted, tmp_path: Path) -> None:
    next_one = Home(tmp_path / "next")
    shutil.copytree(refitted.home.root, next_one.root)
    before = recommend(next_one, PAIR, "untold")
    for side in ("source", "target"):
        stages.pretrain(next_one, PAIR, side, refitted.settings.model_copy(update={"seed": 7}), silent)
    assert recommend(next_one, PAIR, "untold") == before


def test_the_references_recipes_are_not_refitted() -> None:
    assert not Settings().refit
    for recipe in ("published", "honest"):
        with pytest.raises(ValueError, match="fitted again in the recipe calibrated alone"):
            Settings(recipe=recipe, refit=True)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_lists_without_what_was_seen_are_the_best_of_all_others(count: int) -> None:
    rng = np.random.default_rng(count)
    target = TargetItems(rng.normal(size=(13, 2)).astype(np.float32), rng.normal(size=13).astype(np.float32))
    vectors = rng.normal(size=(40, 2)).astype(np.float32)
    hidden = rng.random((40, 13)) < rng.choice([0, 0.3, 0.9, 1], (40, 1))
    seen = np.flatnonzero(hidden)
    scores = np.where(hidden, -np.inf, vectors @ target.vectors.T + target.offset)[:, 1:]
    [(first, items, found)] = unseen_items(top_items(target, vectors, count), target, vectors, seen)
    assert first == 0
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(items, np.where(np.isfinite(best), order + 1, 0))
    np.testing.assert_allclose(found[items > 0], best[items > 0], rtol=1e-5)
