"""What is deployed: what the gate let through, fitted again on everybody if asked, and never what is measured."""

import dataclasses
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import Lineage
from small_lineage import PAIR, SETTINGS, contents, domains, read, run
from small_pair import calibrated_models, small_pair

from ptupcdr_core.data.pair_data import PairData, load_pair
from ptupcdr_core.data.splits import is_test_user
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.gate.decision import judge, keep_verdict
from ptupcdr_core.kernels.exact_search import top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.report.page import make_report
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import (
    CANDIDATE,
    CHAMPION,
    SplitPeople,
    bundle_file,
    deployed_bundle,
    recommend,
    recommend_new,
)
from ptupcdr_core.serving.unseen import unseen_items
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.deployment import deploy
from ptupcdr_core.stages.embeddings import bridge_cold_users
from ptupcdr_core.stages.evaluation import evaluate_cold_start
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.stages.warm_start import evaluate_warm_start, fine_tune
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

RANKS = SETTINGS.model_copy(update={"mode": "both", "ranking_size": 16})
MEASURED = ("bridged_embeddings", "cold_start_evaluation", "cold_start_errors", "fine_tuned_embeddings",
            "warm_start_evaluation", "warm_start_errors")  # fmt: skip
RATED = (
    "select user_id, item_id from split_target_ratings join split_users using (user_index) "
    "join split_target_items using (item_index) where part = 'test'"
)
LISTS = (
    "select user_id, list(item_id order by rank), list(score order by rank) from recommendations group by 1 order by 1"
)


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


@dataclass(frozen=True)
class Refitted:
    """The same pair with the evaluated bundle deployed, and with one that was fitted again."""

    honest: Home
    home: Home
    settings: Settings

    @property
    def data(self) -> PairData:
        return load_pair(Warehouse(self.home.warehouse), PAIR)

    @property
    def mode(self) -> Mode:
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
    recommend_cold_users(home, PAIR, settings)
    return Refitted(honest, home, settings)


def test_whatever_is_measured_stays_as_it_was(refitted: Refitted, tmp_path: Path) -> None:
    """Everything that measures is made once more, beside a bundle that knows the answers."""
    again = Home(tmp_path / "again")
    shutil.copytree(refitted.home.root, again.root)
    bridge_cold_users(again, PAIR, refitted.settings)
    evaluate_cold_start(again, PAIR, refitted.settings)
    fine_tune(again, PAIR, refitted.settings)
    evaluate_warm_start(again, PAIR, refitted.settings)
    before, after = contents(refitted.honest), contents(again)
    for table in MEASURED:
        assert after[table] == before[table], table
    assert after["recommendations"] != before["recommendations"]
    page, other = (make_report(home, PAIR, refitted.settings).path.read_text() for home in (refitted.honest, again))
    # The minute of the evaluation, which was made twice; and lists and nights, which are of what is deployed.
    of_deployed = '<section id="(examples|nights)">.*?</section>'
    unmeasured = re.compile(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d UTC|{of_deployed}", re.DOTALL)
    assert unmeasured.sub("", page) == unmeasured.sub("", other)
    for kind in (CANDIDATE, CHAMPION):
        digests = {Bundle.load(bundle_file(home, kind, PAIR)).digest for home in (refitted.honest, again)}
        assert len(digests) == 1


def test_the_evaluated_bundle_knows_no_held_out_rating_and_the_refitted_one_all(refitted: Refitted) -> None:
    data = refitted.data
    held_out = len(data.cohorts["test"]) + len(data.cohorts["validation"])
    everything = len(data.target_train) + len(data.target_validation) + len(data.target_test)
    query = "select mode, serves, refitted, bridge_users, target_ratings from deployed_model order by mode desc"
    bridge = len(data.cohorts["bridge"])
    for home, expected in (
        (refitted.honest, (False, bridge, len(data.target_train))),
        (refitted.home, (True, bridge + held_out, everything)),
    ):
        assert read(home, "deployed_model", query) == [(mode, "new", *expected) for mode in refitted.settings.modes]
        for served in deployed_bundle(home, PAIR).modes.values():
            assert (served.origin.refitted, served.origin.bridge_users, served.origin.target_ratings) == expected


def test_another_bridge_serves_after_a_refit_and_nothing_is_chosen_again(refitted: Refitted) -> None:
    before, after = (deployed_bundle(home, PAIR).modes[refitted.mode].part for home in (refitted.honest, refitted.home))
    assert not np.array_equal(after.personal.common, before.personal.common)
    assert not np.array_equal(after.target.vectors, before.target.vectors)
    for name, tensor in before.source.tensors().items():
        np.testing.assert_array_equal(after.source.tensors()[name], tensor, err_msg=name)


def test_recommendations_are_the_best_of_all_scores_of_the_deployed_bundle(refitted: Refitted) -> None:
    """Exact lists by hand: everybody folded in, all scores, seen items left out."""
    data, served = refitted.data, deployed_bundle(refitted.home, PAIR).modes[refitted.mode]
    users = data.cold_users
    people = SplitPeople.of(Warehouse(refitted.home.warehouse), PAIR, served)(users)
    sought = served.part.sought(people, served.part.embed(people)[0])
    scores = sought.vectors @ served.part.target.vectors.T + served.part.target.offset
    if sought.extra is not None:
        scores += sought.extra(np.arange(len(users))).toarray()
    scores[:, 0] = -np.inf
    scores[np.searchsorted(users, data.target_test.users), data.target_test.items] = -np.inf
    ids = served.target_ids.to_pylist()
    best = np.argsort(-scores, axis=1, kind="stable")[:, : refitted.settings.top_k]
    rows = read(refitted.home, "recommendations", LISTS)
    differing = sum(items != [ids[item] for item in wanted] for (_, items, _), wanted in zip(rows, best, strict=True))
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


def test_people_served_by_their_ratings_get_what_the_deployed_bundle_says(refitted: Refitted) -> None:
    ratings = pa.table(
        {"user_id": ["new"] * 3, "item_id": [f"books-{n:04d}" for n in (0, 1, 2)], "rating": [5.0, 1.0, 4.0]}
    )
    answers = [recommend_new(home, PAIR, ratings, 5, users=["silent"]) for home in (refitted.home, refitted.honest)]
    assert not np.allclose(answers[0].embeddings, answers[1].embeddings)
    assert answers[0].made_by.tolist() == ["bridge", "mean"]
    mean = deployed_bundle(refitted.home, PAIR).modes[refitted.mode].part.mean
    np.testing.assert_array_equal(answers[0].embeddings[1], mean)


def test_the_evaluated_models_can_be_deployed_again(refitted: Refitted, tmp_path: Path) -> None:
    back = Home(tmp_path / "back")
    shutil.copytree(refitted.home.root, back.root)
    settings = refitted.settings.model_copy(update={"refit": False})
    deploy(back, PAIR, settings, silent)
    recommend_cold_users(back, PAIR, settings)
    assert contents(back) == contents(refitted.honest)


def test_the_next_training_leaves_what_is_deployed_as_it_is(refitted: Refitted, tmp_path: Path) -> None:
    next_one = Home(tmp_path / "next")
    shutil.copytree(refitted.home.root, next_one.root)
    before = recommend(next_one, PAIR, "untold")
    for side in ("source", "target"):
        pretrain(next_one, PAIR, side, refitted.settings.model_copy(update={"seed": 7}), silent)
    train_bridges(next_one, PAIR, refitted.settings, silent)
    assert recommend(next_one, PAIR, "untold") == before


def spoiled(bundle: Bundle, factor: float, *modes: Mode) -> Bundle:
    """In place of another training: bridges times a factor, which say less about a user, or the opposite."""
    served = {}
    for mode, own in bundle.modes.items():
        personal = own.part.personal
        worse = replace(personal, common=personal.common * np.float32(factor), strength=personal.strength * factor,
                        fallback=personal.fallback * np.float32(factor))  # fmt: skip
        origin = replace(own.origin, training=f"{own.origin.training} times {factor}")
        changed = replace(own, part=replace(own.part, personal=worse), origin=origin)
        served[mode] = changed if mode in modes or not modes else own
    return Bundle(bundle.pair, served)


def judged_and_deployed(home: Home, candidate: Bundle, settings: Settings) -> list[tuple[str, str, str]]:
    """Let the gate judge a bundle, deploy, recommend; what serves each mode, and why."""
    candidate.save(bundle_file(home, CANDIDATE, PAIR))
    keep_verdict(home, PAIR, judge(home, PAIR), settings, model="", version="", champion=None)
    deploy(home, PAIR, settings, silent)
    recommend_cold_users(home, PAIR, settings)
    return read(home, "deployed_model", "select mode, serves, reason from deployed_model order by mode")


@pytest.fixture
def home(refitted: Refitted, tmp_path: Path) -> Home:
    shutil.copytree(refitted.honest.root, tmp_path / "home")
    return Home(tmp_path / "home")


def test_a_refused_model_recommends_to_nobody_and_a_better_one_to_all(refitted: Refitted, home: Home) -> None:
    settings = refitted.settings.model_copy(update={"refit": False})
    good, lists = Bundle.load(bundle_file(home, CANDIDATE, PAIR)), read(home, "recommendations", LISTS)
    rows = judged_and_deployed(home, spoiled(good, -1.0), settings)
    assert {(mode, serves) for mode, serves, _ in rows} == {(mode, "kept") for mode in settings.modes}
    assert all("worse than" in reason for *_, reason in rows)
    assert read(home, "recommendations", LISTS) == lists
    assert deployed_bundle(home, PAIR).digest == good.digest
    slightly = spoiled(good, 1.02)
    rows = judged_and_deployed(home, slightly, settings)
    assert {(mode, serves) for mode, serves, _ in rows} == {(mode, "new") for mode in settings.modes}
    assert read(home, "recommendations", LISTS) != lists
    assert deployed_bundle(home, PAIR).digest == slightly.digest


def test_a_kill_between_a_champion_and_its_tables_loses_no_comparison(
    refitted: Refitted, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one has replaced the one that it was compared with: judged again, it is not compared with itself."""
    good = Bundle.load(bundle_file(home, CANDIDATE, PAIR))
    spoiled(good, 1.02, "rating").save(bundle_file(home, CANDIDATE, PAIR))
    undisturbed = Home(tmp_path / "undisturbed")
    shutil.copytree(home.root, undisturbed.root)

    def keep(home: Home) -> None:
        verdict = judge(home, PAIR, "of these")
        labels = {"model": "", "version": "", "champion": None, "fingerprint": "of these"}
        keep_verdict(home, PAIR, verdict, refitted.settings, **labels)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def told(home: Home) -> list[object]:
        champion = Bundle.load(bundle_file(home, CHAMPION, PAIR)).digest
        return [champion, *(read(home, "champion", f"from {table}") for table in ("champion", "champion_comparisons"))]

    keep(undisturbed)
    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            keep(home)
    assert told(home)[0] == told(undisturbed)[0] != good.digest, "the champion was replaced, its tables were not"
    assert told(home)[1:] != told(undisturbed)[1:]
    keep(home)
    assert told(home) == told(undisturbed)
    assert "as good as champion" in str(told(home)[1])
    assert judge(home, PAIR, "of others").decision == judge(home, PAIR).decision, (
        "a verdict of another training says nothing here"
    )
    spoiled(good, -1.0).save(bundle_file(home, CANDIDATE, PAIR))
    assert not judge(home, PAIR, "of these").decision.promoted, "nor of another bundle"


def test_people_who_came_since_are_served_by_the_champion(lineage: Lineage, tmp_path: Path) -> None:
    """A worse model is refused; somebody new is folded into the bundle that stayed, and all others keep their lists."""
    home = Home(tmp_path / "home")
    shutil.copytree(lineage.home.root, home.root)
    before = {user: (items, scores) for user, items, scores in read(home, "recommendations", LISTS)}
    import pyarrow.parquet as pq

    files = tmp_path / "files"
    shutil.copytree(lineage.files, files)
    books = pq.read_table(files / "books.parquet")
    told = books.filter(pa.compute.equal(books["user_id"], "untold"))
    new = told.set_column(told.schema.get_field_index("user_id"), "user_id", pa.array(["zoe"] * len(told)))
    pq.write_table(pa.concat_tables([books, new.cast(books.schema)]), files / "books.parquet")
    good = Bundle.load(bundle_file(home, CHAMPION, PAIR))
    run(home, domains(files), lineage.settings)
    good.save(bundle_file(home, CHAMPION, PAIR))
    judged_and_deployed(home, spoiled(Bundle.load(bundle_file(home, CANDIDATE, PAIR)), -1.0), lineage.settings)
    after = {user: (items, scores) for user, items, scores in read(home, "recommendations", LISTS)}
    assert after.keys() - before.keys() == {"zoe"}
    for user, (items, scores) in before.items():
        assert after[user][0] == items
        np.testing.assert_allclose(after[user][1], scores, rtol=1e-5)
    assert after["zoe"][0] == after["untold"][0], "the same ratings, the same list"


def test_a_mode_that_is_refused_does_not_hold_back_the_other(refitted: Refitted, home: Home) -> None:
    if refitted.mode == "rating":
        pytest.skip("a pair with one mode")
    settings = refitted.settings.model_copy(update={"refit": False})
    good = Bundle.load(bundle_file(home, CANDIDATE, PAIR))
    mixed = spoiled(spoiled(good, 1.02, "ranking"), -1.0, "rating")
    rows = judged_and_deployed(home, mixed, settings)
    assert [(mode, serves) for mode, serves, _ in rows] == [("ranking", "new"), ("rating", "kept")]
    served = deployed_bundle(home, PAIR).modes
    np.testing.assert_array_equal(served["rating"].part.personal.common, good.modes["rating"].part.personal.common)
    np.testing.assert_array_equal(served["ranking"].part.personal.common, mixed.modes["ranking"].part.personal.common)


def test_without_a_model_that_ever_passed_nothing_is_deployed_but_on_demand(refitted: Refitted, home: Home) -> None:
    settings = refitted.settings.model_copy(update={"refit": False})
    broken = spoiled(Bundle.load(bundle_file(home, CANDIDATE, PAIR)), -1.0)
    shutil.rmtree(home.bundles)
    rows = judged_and_deployed(home, broken, settings)
    assert {(mode, serves) for mode, serves, _ in rows} == {(mode, "nothing") for mode in settings.modes}
    assert read(home, "recommendations", "select count(*) from recommendations") == [(0,)]
    with pytest.raises(ArtifactError, match="nothing is deployed for books__movies"):
        recommend(home, PAIR, "untold")
    judged_and_deployed(home, broken, settings.model_copy(update={"no_gate": True}))
    assert read(home, "deployed_model", "select distinct serves, gate from deployed_model") == [("new", "off")]
    assert deployed_bundle(home, PAIR).digest == broken.digest


def test_the_champion_that_stays_is_the_one_that_was_fitted_again(refitted: Refitted, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(refitted.home.root, home.root)
    before = deployed_bundle(home, PAIR)
    worse = spoiled(Bundle.load(bundle_file(home, CANDIDATE, PAIR)), -1.0)
    judged_and_deployed(home, worse, refitted.settings)
    assert deployed_bundle(home, PAIR).digest == before.digest
    assert all(served.origin.refitted for served in before.modes.values())


def test_the_references_recipes_are_not_refitted() -> None:
    assert not Settings().refit
    for recipe in ("published", "honest"):
        with pytest.raises(ValueError, match="fitted again in the recipe calibrated alone"):
            Settings(recipe=recipe, refit=True)


def test_a_bundle_comes_back_as_it_was_and_serves_from_an_empty_folder(refitted: Refitted, tmp_path: Path) -> None:
    bundle = deployed_bundle(refitted.home, PAIR)
    shutil.copy(bundle_file(refitted.home, "deployed", PAIR), tmp_path / "copy.safetensors")
    again = Bundle.load(tmp_path / "copy.safetensors")
    assert again.digest == bundle.digest
    items = [f"books-{number:04d}" for number in range(12)]
    ratings = pa.table({"user_id": ["a"] * 12, "item_id": items, "rating": [*"514525141535"]})
    assert again.recommend(ratings, 5).recommendations.equals(bundle.recommend(ratings, 5).recommendations)
    assert any(again.recommend(ratings, 20).recommendations["reasons"].to_pylist())


@pytest.mark.parametrize("content", [None, b"half", b""])
def test_a_file_that_is_no_bundle_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "no.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"no\.safetensors: not a readable bundle"):
        Bundle.load(path)


def test_a_bundle_of_another_format_says_which(
    lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = deployed_bundle(lineage.home, PAIR)
    monkeypatch.setattr("ptupcdr_core.store.formats.BUNDLE", 99)
    bundle.save(tmp_path / "later.safetensors")
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="a bundle of format 99, and this version reads format 2"):
        Bundle.load(tmp_path / "later.safetensors")


def test_predicted_ratings_are_the_scores_and_nothing_for_strange_items(lineage: Lineage) -> None:
    bundle = deployed_bundle(lineage.home, PAIR)
    ratings = pa.table({"user_id": ["a", "a"], "item_id": ["books-0001", "books-0002"], "rating": ["5", "4"]})
    rows = bundle.recommend(ratings, 3, mode="rating").recommendations
    couples = pa.table({"user_id": ["a"] * 4, "item_id": [*rows["item_id"].to_pylist(), "no movie"]})
    rated = bundle.rate(ratings, couples)
    np.testing.assert_allclose(rated[:3], rows["score"].to_numpy(), rtol=1e-5)
    assert np.isnan(rated[3])


def test_what_is_evaluated_is_what_people_are_served_by_their_ratings_alone(refitted: Refitted) -> None:
    """The evaluation's numbers of ptupcdr, once more: nothing but the bundle and the test users' source ratings."""
    home, bundle = refitted.honest, deployed_bundle(refitted.honest, PAIR)
    columns = ["user_id", "item_id", "rating", "timestamp"]
    told = table_of(home, "split_source_ratings join split_source_items using (item_index)", "cohort = 'test'", columns)
    held_out = table_of(
        home, "split_target_ratings join split_target_items using (item_index)", "part = 'test'", columns[:3]
    )
    query = "select mode, rmse, ndcg_at_10 from cold_start_evaluation where method = 'ptupcdr'"
    evaluated = {mode: (rmse, ndcg) for mode, rmse, ndcg in read(home, "cold_start_evaluation", query)}
    errors = bundle.rate(told, held_out) - held_out["rating"].to_numpy()
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(evaluated["rating"][0], rel=1e-5)
    if refitted.mode != "ranking":
        return
    took: dict[str, set[str]] = {}
    for user, item in zip(held_out["user_id"].to_pylist(), held_out["item_id"].to_pylist(), strict=True):
        took.setdefault(user, set()).add(item)
    found = dict.fromkeys(took, 0.0)
    for row in bundle.recommend(told, 10).recommendations.to_pylist():
        if row["item_id"] in took.get(row["user_id"], ()):
            found[row["user_id"]] += 1 / np.log2(row["rank"] + 1)
    best = {
        user: sum(1 / np.log2(rank + 1) for rank in range(1, min(10, len(items)) + 1)) for user, items in took.items()
    }
    assert np.mean([found[user] / best[user] for user in took]) == pytest.approx(evaluated["ranking"][1], rel=1e-5)


def table_of(home: Home, tables: str, where: str, columns: list[str]) -> pa.Table:
    query = f"select {', '.join(columns)} from {tables} join split_users using (user_index) where {where}"
    rows = read(home, "domain_splits", query)
    return pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))


def test_who_is_held_out_is_known_from_seed_and_beta(lineage: Lineage) -> None:
    rows = read(
        lineage.home,
        "domain_splits",
        "select user_id, cohort from split_users where cohort not in ('cold', 'target_only')",
    )
    for user, cohort in rows:
        assert is_test_user(user, lineage.settings.seed, lineage.settings.beta) == (cohort == "test")


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
