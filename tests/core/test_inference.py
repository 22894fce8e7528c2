"""The best items are those of a full sort, ties included, and a recommendation is the table's."""

import numpy as np
import pytest
from conftest import Lineage
from hypothesis import given, settings
from hypothesis import strategies as st
from small_lineage import PAIR, read

from ptupcdr_core.errors import ArtifactError, UnknownUserError
from ptupcdr_core.kernels import exact_search as search
from ptupcdr_core.kernels.exact_search import top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.deployed import recommend
from ptupcdr_core.store.home import Home

E = 3


def brute_force(target: TargetItems, user: np.ndarray, count: int) -> tuple[list[int], list[float]]:
    """All items sorted by score, the lower index first among equals."""
    scores = [float(target.offset[item] + user @ target.vectors[item]) for item in range(1, len(target.offset))]
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:count]
    return [place + 1 for place in order], [scores[place] for place in order]


def found(target: TargetItems, users: np.ndarray, count: int) -> tuple[list[list[int]], list[list[float]]]:
    blocks = list(top_items(target, users, count))
    assert [start for start, *_ in blocks] == list(np.cumsum([0, *(len(items) for _, items, _ in blocks)])[:-1])
    return [row.tolist() for _, items, _ in blocks for row in items], [
        row.tolist() for _, _, scores in blocks for row in scores
    ]


@settings(deadline=None)  # the first example waits for the compiler
@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 12),
    users=st.integers(1, 5),
    count=st.integers(1, 15),
)
def test_the_best_items_are_those_of_a_full_sort(seed: int, items: int, users: int, count: int) -> None:
    """Whole numbers, so that many scores are equal and all of them exact."""
    rng = np.random.default_rng(seed)
    target = TargetItems(
        rng.integers(-1, 2, (items + 1, E)).astype(np.float32), rng.integers(0, 3, items + 1).astype(np.float32)
    )
    vectors = rng.integers(-1, 2, (users, E)).astype(np.float32)
    expected = [brute_force(target, user, count) for user in vectors]
    assert found(target, vectors, count) == ([row for row, _ in expected], [scores for _, scores in expected])


def test_of_equal_items_the_first_are_the_best() -> None:
    target = TargetItems(np.zeros((1001, E), np.float32), np.full(1001, 3, np.float32))
    assert found(target, np.ones((2, E), np.float32), 4)[0] == [[1, 2, 3, 4]] * 2


def test_padding_is_never_recommended() -> None:
    target = TargetItems(np.zeros((4, E), np.float32), np.array([9, 1, 3, 2], np.float32))
    assert found(target, np.zeros((1, E), np.float32), 9) == ([[2, 3, 1]], [[3, 2, 1]])


@pytest.mark.parametrize("results", [1, 5, 13])
def test_blocks_of_users_change_nothing(results: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    target = TargetItems(rng.normal(size=(11, E)).astype(np.float32), rng.normal(size=11).astype(np.float32))
    users = rng.normal(size=(7, E)).astype(np.float32)
    items, scores = found(target, users, 5)
    monkeypatch.setattr(search, "RESULTS", results)
    assert len(list(top_items(target, users, 5))) == -(-7 // max(1, results // 5))
    again = found(target, users, 5)
    assert again[0] == items
    np.testing.assert_allclose(again[1], scores, rtol=1e-5)


@pytest.mark.parametrize(("spread", "count"), [(0.0, 7), (1.0, 7), (5.0, 1), (1.0, 3000)])
def test_what_is_passed_over_is_not_among_the_best(spread: float, count: int) -> None:
    """More items than tiles are wide, more users than are searched for together; lengths spread over orders."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(2001, E)) * np.exp(spread * rng.normal(size=(2001, 1)))
    target = TargetItems(vectors.astype(np.float32), rng.normal(size=2001).astype(np.float32))
    users = (rng.normal(size=(150, E)) * np.exp(spread * rng.normal(size=(150, 1)))).astype(np.float32)
    items, scores = found(target, users, count)
    exact = target.offset[1:] + users.astype(np.float64) @ target.vectors[1:].T
    np.testing.assert_allclose(scores, -np.sort(-exact, 1)[:, :count], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores, np.take_along_axis(exact, np.array(items) - 1, 1), rtol=1e-4, atol=1e-4)
    assert all(len(set(row)) == len(row) for row in items)


def test_vectors_with_nan_are_refused() -> None:
    target = TargetItems(np.ones((4, E), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="finite"):
        list(top_items(target, np.full((1, E), np.nan, np.float32), 2))


def test_nobody_gets_nothing() -> None:
    target = TargetItems(np.zeros((4, E), np.float32), np.zeros(4, np.float32))
    assert list(top_items(target, np.zeros((0, E), np.float32), 2)) == []


@pytest.mark.parametrize("cohort", ["cold", "test"])
def test_a_recommendation_is_the_tables(lineage: Lineage, cohort: str) -> None:
    query = f"select user_id from bridged_embeddings where cohort = '{cohort}' order by user_id limit 1"
    ((user,),) = read(lineage.home, "bridged_embeddings", query)
    rows = read(
        lineage.home,
        "recommendations",
        f"select rank, item_id, score, made_by from recommendations where user_id = '{user}' order by rank",
    )
    answers = recommend(lineage.home, PAIR, user, k=4)
    assert [(answer.rank, answer.item_id, answer.made_by) for answer in answers] == [
        (rank, item, made_by) for rank, item, _, made_by in rows[:4]
    ]
    np.testing.assert_allclose([answer.score for answer in answers], [row[2] for row in rows[:4]], rtol=1e-5)


def test_every_cold_user_has_top_k_items_once_each_best_first(lineage: Lineage) -> None:
    query = """select user_id, list(item_id order by rank), list(rank order by rank), list(score order by rank)
               from recommendations group by user_id"""
    rows = read(lineage.home, "recommendations", query)
    users = {user for (user,) in read(lineage.home, "bridged_embeddings", "select user_id from bridged_embeddings")}
    assert {row[0] for row in rows} == users
    for _, items, ranks, scores in rows:
        assert len(set(items)) == len(items) == lineage.settings.top_k
        assert ranks == list(range(1, lineage.settings.top_k + 1))
        assert scores == sorted(scores, reverse=True)
        assert 1 <= min(scores) <= max(scores) <= 5


def test_more_items_than_there_are_is_all_of_them(lineage: Lineage) -> None:
    ((items,),) = read(lineage.home, "domain_splits", "select count(*) from split_target_items")
    answers = recommend(lineage.home, PAIR, "untold", k=10_000)
    assert len(answers) == len({answer.item_id for answer in answers}) == items
    assert {answer.made_by for answer in answers} == {"common_bridge"}


@pytest.mark.parametrize("cohort", ["bridge", "validation", "target_only"])
def test_a_user_who_is_not_cold_is_unknown(lineage: Lineage, cohort: str) -> None:
    ((user,),) = read(lineage.home, "domain_splits", f"select min(user_id) from split_users where cohort = '{cohort}'")
    with pytest.raises(UnknownUserError, match=f"'{user}' is not a cold-start user of books__movies"):
        recommend(lineage.home, PAIR, user)


def test_a_user_nobody_heard_of_is_unknown(lineage: Lineage) -> None:
    with pytest.raises(UnknownUserError, match="select user_id, cohort from recommendations"):
        recommend(lineage.home, PAIR, "O'Neil; drop table bridged_embeddings")


def test_a_pair_without_a_bundle_says_how_to_make_them(
    lineage: Lineage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(ArtifactError, match="nothing is deployed for books__movies; make it with `ptupcdr backfill"):
        recommend(Home(tmp_path_factory.mktemp("empty")), PAIR, "untold")
