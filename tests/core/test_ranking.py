"""Ranked lists: measures worked out by hand, fits against dense solutions, and a planted taste that lists must find."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from conftest import Lineage
from small_lineage import PAIR, SETTINGS, domains, read, run

from ptupcdr_core.data.pair_data import Ratings, load_pair
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.evaluation.beyond_accuracy import Shelf
from ptupcdr_core.evaluation.rankings import best_of_rows, measure, rank_by_vectors
from ptupcdr_core.experiments.readout import read_evaluation
from ptupcdr_core.gate.decision import held_out_ratings
from ptupcdr_core.gate.judged import Judged
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.modes.ranking.bridging import (
    RankingBridges,
    RankingTask,
    refit_ranking_bridges,
    train_ranking_bridges,
)
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_ranking_task
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.report.page import make_report
from ptupcdr_core.serving.deployed import SplitPeople, deployed_bundle, recommend
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.als import Entries, Plan, als, fold_in
from ptupcdr_core.training.implicit import train_factors
from ptupcdr_core.training.taken_loss import TakenLoss

RANKS = SETTINGS.model_copy(update={"mode": "both", "ranking_size": 16})


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


def pairs(*taken: tuple[int, int]) -> Ratings:
    users, items = np.array(taken, np.int32).T
    return Ratings(users, items, np.full(len(users), 5, np.float32))


def some_ratings(rng: np.random.Generator, users: int = 40, items: int = 25, each: int = 8) -> Ratings:
    """Ordered by user and item, with times."""
    item = np.concatenate([np.sort(rng.choice(items, each, replace=False)) + 1 for _ in range(users)])
    stars = np.full(users * each, 4, np.float32)
    times = rng.uniform(0, 100, users * each).astype(np.float32)
    return Ratings(np.repeat(np.arange(1, users + 1, dtype=np.int32), each), item.astype(np.int32), stars, times)


def test_measures_by_hand() -> None:
    """User 1 took items 7 and 9, at ranks 1 and 3; user 2 took item 5, which is not in the list."""
    lists = np.array([[7, 1, 9, 2], [1, 2, 3, 4]])
    found = measure(lists, np.array([1, 2], np.int32), pairs((1, 7), (1, 9), (2, 5)))
    gained, ideal = 1 + 1 / np.log2(4), 1 + 1 / np.log2(3)
    np.testing.assert_allclose(found.values["ndcg_at_10"], [gained / ideal, 0])
    np.testing.assert_allclose(found.values["ndcg_at_50"], found.values["ndcg_at_10"])
    np.testing.assert_allclose(found.values["hit_rate_at_10"], [1, 0])
    np.testing.assert_allclose(found.values["recall_at_10"], [1, 0])
    np.testing.assert_allclose(found.values["mrr"], [1, 0])
    assert found.top.tolist() == lists.tolist()
    assert found.counts.tolist() == [2, 1]


def test_a_first_hit_beyond_ten_counts_for_mrr_and_the_measures_of_fifty_alone() -> None:
    lists = np.arange(1, 51)[None]
    found = measure(lists, np.array([1], np.int32), pairs((1, 20)))
    assert {name: float(value[0]) for name, value in found.values.items()} == {
        "ndcg_at_10": 0,
        "ndcg_at_50": pytest.approx(1 / np.log2(21)),
        "hit_rate_at_10": 0,
        "recall_at_10": 0,
        "recall_at_50": 1,
        "mrr": 1 / 20,
    }


def test_the_best_of_scores_leaves_the_padding_out_and_goes_by_index_among_equals() -> None:
    scores = np.zeros((1, 60), np.float32)
    scores[0, [0, 30, 40]] = [9, 2, 1]
    found = best_of_rows(iter([scores]))
    assert found.shape == (1, 50)
    assert found[0, :2].tolist() == [30, 40]
    assert 0 not in found
    assert (np.diff(found[0, 2:]) > 0).all()


def test_implicit_least_squares_solves_each_user_over_all_items() -> None:
    """(Σ_taken q qᵀ + α Σ_all q qᵀ + λ I) p = Σ_taken q, by hand with numpy."""
    rng = np.random.default_rng(0)
    ratings, items = some_ratings(rng), rng.normal(size=(26, 3)).astype(np.float32)
    items[0] = 0
    rows = compress(ratings.users, ratings.items, np.ones(len(ratings), np.float32), 40)
    found = fold_in(rows, items, regularization=0.7, weighted=False, unobserved_weight=0.2)
    for user in (1, 17, 40):
        own = items[ratings.items[ratings.users == user]].astype(np.float64)
        system = own.T @ own + 0.2 * items.T.astype(np.float64) @ items + 0.7 * np.eye(3)
        np.testing.assert_allclose(found[user], np.linalg.solve(system, own.sum(0)), rtol=1e-5)


def test_the_loss_of_implicit_factors_falls_with_every_iteration() -> None:
    ratings, losses = some_ratings(np.random.default_rng(1)), []

    def loss(_: int, p: np.ndarray, q: np.ndarray) -> None:
        scores = p.astype(np.float64) @ q.T
        taken = np.square(1 - scores[ratings.users, ratings.items]).sum()
        losses.append(taken + 0.1 * np.square(scores).sum() + 2 * (np.square(p).sum() + np.square(q).sum()))

    entries = Entries(ratings.users, ratings.items, np.ones(len(ratings), np.float32), 40, 25)
    ridge = Ridge(2, weighted=False, unobserved_weight=0.1)
    als(entries, Plan(4, ridge, ridge, iterations=6, seed=0), on_iteration=loss)
    assert (np.diff(losses) <= 1e-4).all()


def test_conjugate_gradients_find_the_minimum_of_the_task_oriented_loss() -> None:
    """Against the normal equations written out: one row an entry of the bridge."""
    rng = np.random.default_rng(2)
    users, items, x, y = 12, 9, 3, 2
    vectors, features = rng.normal(size=(items, y)).astype(np.float32), rng.normal(size=(users, x)).astype(np.float32)
    taken, weights = (rng.random((users, items)) < 0.4).astype(np.float32), rng.uniform(0.5, 2, (users, 1))
    everything = 0.3 * vectors.T @ vectors
    loss = TakenLoss(sp.csr_matrix(taken), vectors, everything, weights.astype(np.float32), 1.0)
    start = rng.normal(size=(users, y)).astype(np.float32)
    left, right = 0.5 * np.eye(x * y), np.zeros(x * y)
    for user in range(users):
        own = vectors.T @ (taken[user][:, None] * vectors) + everything
        wanted = vectors.T @ taken[user] - own @ start[user]
        left += weights[user] * np.kron(np.outer(features[user], features[user]), own)
        right += weights[user] * np.kron(features[user], wanted)
    expected = np.linalg.solve(left, right).reshape(x, y)
    np.testing.assert_allclose(loss.fit(features, start, 0.5), expected, rtol=1e-3, atol=1e-4)


def test_folding_in_leaves_one_rating_out_as_if_it_had_never_been_there() -> None:
    ratings = some_ratings(np.random.default_rng(3))
    factors = train_factors(ratings, 40, 25, size=4, seed=0, on_epoch=silent)
    space = RankingSpace.of(factors, ratings)
    places = np.array([0, 3, 57])
    found = space.leave_out(ratings, 40, places)
    for vector, place in zip(found, places, strict=True):
        without = space.fold_in(ratings.where(np.arange(len(ratings)) != place), 40)
        np.testing.assert_allclose(vector, without[ratings.users[place]], rtol=1e-3, atol=1e-4)


def test_when_people_were_active_is_among_their_coordinates_only_where_times_are_known() -> None:
    ratings = some_ratings(np.random.default_rng(4))
    factors = train_factors(ratings, 40, 25, size=4, seed=0, on_epoch=silent)
    untimed = Ratings(ratings.users, ratings.items, ratings.stars)
    assert RankingSpace.of(factors, untimed).source_vectors(untimed).shape == (41, 4 + 0 + 2)
    assert RankingSpace.of(factors, ratings).source_vectors(ratings).shape == (41, 4 + 12 + 2)


METHODS = {
    "popularity",
    "kernel_ridge",
    "item_knn",
    "joint_als",
    "cgsp",
    "emcdr",
    "common_bridge",
    "personal_bridge",
    "ptupcdr",
}


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory, lineage: Lineage) -> Home:
    home = Home(tmp_path_factory.mktemp("ranked"))
    run(home, domains(lineage.files), RANKS)
    return home


def test_on_planted_data_lists_by_the_bridge_beat_all_that_ask_nobody(ranked: Home) -> None:
    found = read_evaluation(ranked, PAIR)
    ranking = found[found["mode"] == "ranking"].set_index("method")["ndcg_at_10"]
    assert set(ranking.index) == METHODS
    assert ranking["ptupcdr"] > 1.2 * ranking["popularity"]
    assert ranking["ptupcdr"] >= ranking["item_knn"]
    assert found[found["mode"] == "rating"]["ndcg_at_10"].isna().all()
    assert found[found["mode"] == "ranking"]["rmse"].isna().all()


def test_the_table_adds_up_to_the_users_measures(ranked: Home) -> None:
    rows = read(
        ranked,
        "cold_start_evaluation",
        "select e.ndcg_at_10, avg(r.ndcg_at_10), e.mrr, avg(r.mrr), e.users, count(*), e.ratings, sum(r.ratings) "
        "from cold_start_evaluation e join cold_start_rankings r using (method, mode) "
        "group by method, e.ndcg_at_10, e.mrr, e.users, e.ratings",
    )
    assert len(rows) == len(METHODS)
    for ndcg, own_ndcg, mrr, own_mrr, users, own_users, ratings, own_ratings in rows:
        assert (ndcg, mrr) == pytest.approx((own_ndcg, own_mrr))
        assert (users, ratings) == (own_users, own_ratings)


def test_lists_that_are_deployed_are_those_that_were_evaluated(ranked: Home) -> None:
    served = deployed_bundle(ranked, PAIR).modes["ranking"]
    deployed = Judged.of(ranked, PAIR, served).rankings(held_out_ratings(ranked, PAIR))
    query = "select user_id, ratings, ndcg_at_10 from cold_start_rankings where method = 'ptupcdr' order by user_id"
    evaluated = read(ranked, "cold_start_evaluation", query)
    assert list(deployed[["user_id", "ratings", "ndcg_at_10"]].itertuples(index=False, name=None)) == evaluated


def test_every_cold_user_has_an_embedding_a_mode_and_lists_come_from_the_ranking_side(ranked: Home) -> None:
    counts = dict(read(ranked, "bridged_embeddings", "select mode, count(*) from bridged_embeddings group by mode"))
    assert counts["rating"] == counts["ranking"] > 0
    assert read(ranked, "recommendations", "select distinct mode from recommendations") == [("ranking",)]


def test_the_report_tells_of_the_lists(ranked: Home, lineage: Lineage) -> None:
    [(ndcg,)] = read(
        ranked,
        "cold_start_evaluation",
        "select ndcg_at_10 from cold_start_evaluation where mode = 'ranking' and method = 'ptupcdr'",
    )
    page = make_report(ranked, PAIR, RANKS).path.read_text(encoding="utf-8")
    assert f"NDCG@10 is {ndcg:.4f}" in page
    assert "No lists were ranked" not in page
    assert "No lists were ranked" in make_report(lineage.home, PAIR, lineage.settings).path.read_text(encoding="utf-8")


def test_a_user_asked_for_gets_the_stored_list(ranked: Home) -> None:
    query = "select user_id, list(item_id order by rank) from recommendations group by user_id order by user_id limit 1"
    [(user, items)] = read(ranked, "recommendations", query)
    found = recommend(ranked, PAIR, user, k=len(items))
    assert [recommendation.item_id for recommendation in found] == items
    assert all(len(recommendation.reasons) <= 3 for recommendation in found)


def test_people_folded_in_come_out_where_training_put_them(ranked: Home) -> None:
    warehouse = Warehouse(ranked.warehouse)
    data = load_pair(warehouse, PAIR)
    told = np.bincount(data.source.users, minlength=data.user_count + 1)
    users = np.flatnonzero(told >= 10)[:100].astype(np.int32)
    served, task = deployed_bundle(ranked, PAIR).modes["ranking"], load_ranking_task(ranked, data)
    people = SplitPeople.of(warehouse, PAIR, served)(users)
    folded, _ = served.part.embed(people, pa.array([""] * len(users)))
    trained = load_ranking_bridges(ranked, data).personal.embed(task, users)
    np.testing.assert_allclose(folded, trained, atol=1e-5)


@pytest.mark.parametrize("people", [1, 2, 5])
def test_few_bridge_users_get_bridges_too(people: int) -> None:
    """No direction can be told apart by one person; nobody is left without finite embeddings."""
    rng = np.random.default_rng(6)
    users = np.arange(1, people + 2)
    taken = pairs(*((user, item) for user in users for item in (1, 2, 3)))
    task = RankingTask(
        source_vectors=np.hstack([rng.normal(size=(people + 2, 6)), np.ones((people + 2, 1))]).astype(np.float32),
        history_vectors=rng.normal(size=(5, 4)).astype(np.float32),
        histories=rng.integers(1, 5, (people + 2, 3)).astype(np.int32),
        history_stars=np.full((people + 2, 3), 5, np.float32),
        target=TargetItems(rng.normal(size=(9, 4)).astype(np.float32), np.zeros(9, np.float32)),
        target_user_vectors=rng.normal(size=(people + 2, 4)).astype(np.float32),
        taken=taken.where(taken.users <= people),
        validation=taken.where(taken.users > people),
    )
    bridges = train_ranking_bridges(task, hidden_size=8, seed=0)
    assert np.isfinite(bridges.personal.embed(task, users.astype(np.int32))).all()


def test_the_references_recipes_rank_nothing() -> None:
    assert Settings(recipe="published").modes == ("rating",)
    assert Settings().modes == ("rating", "ranking")
    with pytest.raises(ValueError, match="calibrated alone"):
        Settings(recipe="honest", mode="ranking")


def test_bridges_between_other_factors_are_refused(ranked: Home, tmp_path: Path) -> None:
    copy = Home(tmp_path / "copy")
    shutil.copytree(ranked.root, copy.root)
    pretrain(copy, PAIR, "source", RANKS.model_copy(update={"ranking_size": 8}), silent)
    with pytest.raises(ArtifactError, match="between other base models"):
        load_ranking_bridges(copy, load_pair(Warehouse(copy.warehouse), PAIR))


def test_where_histories_say_how_taste_carries_over_the_personal_bridge_ranks_better() -> None:
    """People of two kinds, told by the one item in their history; one kind takes what the other would leave."""
    rng = np.random.default_rng(5)
    count, kinds = 600, rng.integers(1, 3, 601)
    angles = rng.uniform(0, 2 * np.pi, count + 1)
    taste = np.stack([np.cos(angles), np.sin(angles)], 1)
    around = np.arange(60) * 2 * np.pi / 60
    items = np.vstack([np.zeros(2), np.stack([np.cos(around), np.sin(around)], 1)]).astype(np.float32)
    liked = np.argsort(-(taste * np.where(kinds == 1, 1, -1)[:, None]) @ items[1:].T, axis=1)[:, :5] + 1
    taken = pairs(*((user, item) for user in range(1, count + 1) for item in np.sort(liked[user])))
    bridge = taken.users <= 400
    task = RankingTask(
        source_vectors=np.hstack([taste, np.ones((count + 1, 1))]).astype(np.float32),
        history_vectors=np.array([[0, 0], [1, 0], [-1, 0]], np.float32),
        histories=kinds[:, None].astype(np.int32),
        history_stars=np.full((count + 1, 1), 5, np.float32),
        target=TargetItems(items, np.zeros(61, np.float32)),
        target_user_vectors=(taste * np.where(kinds == 1, 1, -1)[:, None]).astype(np.float32),
        taken=taken.where(bridge),
        validation=taken.where(~bridge),
    )
    bridges = train_ranking_bridges(task, hidden_size=8, seed=0)
    users = np.arange(401, count + 1, dtype=np.int32)
    ndcg = {
        name: rank_by_vectors(task.target, found.embed(task, users), users, task.validation).means()["ndcg_at_10"]
        for name, found in (("common", bridges.common), ("personal", bridges.personal), ("emcdr", bridges.emcdr))
    }
    assert bridges.chosen["ranking_personal_strength"] == 1
    assert bridges.chosen["ranking_personal_certainty"] > 2
    assert ndcg["personal"] > 0.9
    assert max(ndcg["common"], ndcg["emcdr"]) < 0.5
    again = RankingBridges.from_tensors(bridges.tensors(), bridges.chosen)
    np.testing.assert_array_equal(again.personal.embed(task, users), bridges.personal.embed(task, users))
    nobody = replace(task, validation=task.validation.where(np.zeros(len(task.validation), bool)))
    refitted = refit_ranking_bridges(nobody, bridges.chosen, hidden_size=8, seed=0)
    assert refitted.chosen == bridges.chosen
    for name, tensor in bridges.tensors().items():
        np.testing.assert_array_equal(refitted.tensors()[name], tensor, err_msg=name)


def test_lists_beside_being_right_by_hand() -> None:
    """Ten people; item 1 was taken by nine, item 2 by four, item 3 by one, item 4 by nobody."""
    shelf = Shelf.of_counts(np.array([0, 9, 4, 1, 0]), users=10)
    assert shelf.tail[1:].tolist() == [False, False, True, True]  # 9 of 14 are less than 80 %, 13 are more
    found = shelf.measures(np.array([[1, 2], [1, 0]]))
    assert found["coverage_at_10"] == 2 / 4
    assert found["self_information_at_10"] == pytest.approx((2 * np.log2(11 / 10) + np.log2(11 / 5)) / 3)
    assert found["long_tail_at_10"] == 0
    assert shelf.measures(np.array([[3, 4]]))["long_tail_at_10"] == 1
    with pytest.raises(ValueError, match="9 of 8 users"):
        Shelf.of_counts(np.array([0, 9]), users=8)
