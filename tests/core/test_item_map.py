"""The sparse map between items: against dense solutions, for both ways of solving, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from companions import Shop, purchases

from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.sparse_product import sparse_product
from ptupcdr_core.training import item_map
from ptupcdr_core.training.item_map import ItemMap, RowKind, RowRidge, fit_item_map, taken

SHAPE = 30, 12, 15
"""Bridge users, source items, target items."""


def some_rows(rng: np.random.Generator, columns: int, users: int = SHAPE[0]) -> sp.csr_matrix:
    rows = (rng.random((users, columns + 1)) < 0.3).astype(np.float32)
    rows[:, 0] = 0
    return sp.csr_matrix(rows)


def dense_map(source: sp.csr_matrix, target: sp.csr_matrix, penalty: float) -> np.ndarray:
    """(SᵀS + λ I)⁻¹ Sᵀ T: the same matrix, in the other dimensions."""
    s, t = source.toarray().astype(np.float64), target.toarray()
    return np.linalg.solve(s.T @ s + penalty * np.eye(s.shape[1]), s.T @ t)


@pytest.mark.parametrize("few_users", [0, 4_096], ids=["conjugate gradients", "factorization"])
def test_all_entries_kept_are_the_positive_ones_of_the_ridge_solution(
    few_users: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_map, "FEW_USERS", few_users)
    monkeypatch.setattr(item_map, "ENOUGH", 1e-6)
    monkeypatch.setattr(item_map, "BLOCK", 200)  # so that there are many blocks
    rng = np.random.default_rng(0)
    source, target = some_rows(rng, SHAPE[1]), some_rows(rng, SHAPE[2])
    expected = dense_map(source, target, 3.0)
    found = fit_item_map(source, target, RowKind(3.0), strongest=SHAPE[2])
    np.testing.assert_allclose(found.matrix.toarray(), np.maximum(expected, 0), atol=2e-5)


def test_the_strongest_target_items_of_each_source_item_are_kept_best_first() -> None:
    rng = np.random.default_rng(1)
    source, target = some_rows(rng, SHAPE[1]), some_rows(rng, SHAPE[2])
    found, expected = fit_item_map(source, target, RowKind(3.0), strongest=4), dense_map(source, target, 3.0)
    for item in range(1, SHAPE[1] + 1):
        kept = found.items[found.offsets[item] : found.offsets[item + 1]]
        assert kept.tolist() == np.argsort(-expected[item])[:4].tolist()


def test_scores_are_the_sums_of_the_rows_of_the_source_items_and_shares_are_their_parts() -> None:
    rng = np.random.default_rng(2)
    source, target, people = some_rows(rng, SHAPE[1]), some_rows(rng, SHAPE[2]), some_rows(rng, SHAPE[1], users=5)
    found = fit_item_map(source, target, RowKind(3.0), strongest=4)
    scores = found.scores(people).toarray()
    np.testing.assert_allclose(scores, people.toarray() @ found.matrix.toarray(), rtol=1e-6)
    for person in range(5):
        own = people[person].indices
        for item in (1, 7, 15):
            assert found.shares(own, np.full(len(own), item)).sum() == pytest.approx(scores[person, item], abs=1e-6)


def test_people_can_be_scored_by_the_whole_map_without_making_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_map, "BLOCK", 100)  # two people at a time
    rng = np.random.default_rng(3)
    source, target, people = some_rows(rng, SHAPE[1]), some_rows(rng, SHAPE[2]), some_rows(rng, SHAPE[1], users=5)
    scores = RowRidge(source, 3.0).scores(people, target)
    np.testing.assert_allclose(scores, people @ dense_map(source, target, 3.0), atol=1e-5)


def test_an_item_that_no_bridge_user_took_says_nothing() -> None:
    source, target = sp.csr_matrix(np.eye(4, 6, k=1, dtype=np.float32)), some_rows(np.random.default_rng(4), 5, users=4)
    found = fit_item_map(source, target, RowKind(1.0))
    assert found.scores(sp.csr_matrix(np.eye(1, 6, k=5, dtype=np.float32))).nnz == 0


def test_a_map_is_what_its_tensors_say() -> None:
    rng = np.random.default_rng(5)
    found = fit_item_map(some_rows(rng, SHAPE[1]), some_rows(rng, SHAPE[2]), RowKind(3.0))
    again = ItemMap.from_tensors(found.tensors())
    assert (again.matrix != found.matrix).nnz == 0
    assert again.target_item_count == SHAPE[2]


def test_planted_companions_are_found() -> None:
    """Every purchase in the target is a companion of one in the source, and each source item has a single one."""
    data = purchases(replace(Shop(), companions=1, of_companions=1.0, of_corner=0.0, bridge=1_500), seed=0)
    bridge = data.cohorts["bridge"]
    source = taken(data.source, data.user_count, data.source_item_count)[bridge]
    target = taken(data.target_train, data.user_count, data.target_item_count)[bridge]
    found = fit_item_map(source, target, RowKind(3.0))
    counts = np.diff(source.tocsc().indptr)
    together = (source.T @ target).toarray()
    often = np.flatnonzero(counts >= 20)
    first = found.items[found.offsets[often]]
    assert (together[often, first] >= 0.6 * together[often].max(1)).mean() > 0.95


def test_conjugate_gradients_multiply_with_sparse_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the bridge users are twice the entries that are multiplied, not four times."""
    multiplied: list[int] = []

    def counted(matrix: sp.csr_matrix, right: np.ndarray) -> np.ndarray:
        multiplied.append(matrix.nnz * right.shape[1])
        return sparse_product(matrix, right)

    def work(users: int) -> int:
        multiplied.clear()
        rng = np.random.default_rng(6)
        ridge = RowRidge(some_rows(rng, 50, users), 1e4)
        ridge.solve(rng.normal(size=(users, 3)).astype(np.float32))
        return sum(multiplied)

    monkeypatch.setattr(item_map, "FEW_USERS", 0)
    monkeypatch.setattr(item_map, "sparse_product", counted)
    assert 0 < work(2_000) < 2.3 * work(1_000)


def test_rows_of_purchases_are_ones() -> None:
    ratings = Ratings(np.array([1, 2], np.int32), np.array([3, 1], np.int32), np.array([5, 2], np.float32))
    assert taken(ratings, 2, 3).toarray().tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
