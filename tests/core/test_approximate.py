"""The graph of items finds nearly the same items as exact search, and the same ones every time."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Lineage
from small_lineage import PAIR

from ptupcdr_core.kernels.approximate_search import approximate_top_items, recall
from ptupcdr_core.kernels.exact_search import Block, top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.store.home import Home

E, K = 8, 10


def generated(items: int, users: int, seed: int = 0) -> tuple[TargetItems, np.ndarray]:
    """Vectors as calibrated models make them: large offsets, various lengths, and a part that all users share."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(items + 1, E)) * np.exp(0.5 * rng.normal(size=(items + 1, 1)))
    offset = 3.7 + 0.4 * rng.normal(size=items + 1)
    common = rng.normal(size=(users, E)) * np.linspace(1, 0.05, E) + 2 * np.eye(E)[-1]
    return TargetItems(vectors.astype(np.float32), offset.astype(np.float32)), common.astype(np.float32)


def only(blocks: list[Block]) -> tuple[np.ndarray, np.ndarray]:
    [(start, items, scores)] = blocks
    assert start == 0
    return items, scores


@pytest.mark.parametrize("items", [300, 20_000])
def test_nearly_everything_is_found(items: int) -> None:
    target, users = generated(items, 400)
    found, scores = only(list(approximate_top_items(target, users, K)))
    exact, _ = only(list(top_items(target, users, K)))
    shared = np.mean([len({*mine} & {*theirs}) / K for mine, theirs in zip(found, exact, strict=True)])
    assert shared > 0.93
    assert recall(target, users, found, scores) == pytest.approx(shared, abs=0.01)


def test_scores_are_exact_and_lists_are_in_order() -> None:
    target, users = generated(2_000, 50)
    found, scores = only(list(approximate_top_items(target, users, K)))
    expected = target.offset[found] + np.einsum("re,rke->rk", users, target.vectors[found])
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert found.min() >= 1
    assert all(len(set(row)) == K for row in found)


def test_the_same_items_are_found_every_time_with_any_number_of_threads(use_threads: Callable[[int], None]) -> None:
    target, users = generated(5_000, 100)
    use_threads(2)
    first, _ = only(list(approximate_top_items(target, users, K)))
    use_threads(1)
    again, _ = only(list(approximate_top_items(target, users, K)))
    np.testing.assert_array_equal(first, again)


def test_more_items_than_there_are_is_all_of_them() -> None:
    target, users = generated(7, 3)
    found, _ = only(list(approximate_top_items(target, users, K)))
    assert [sorted(row) for row in found] == [[*range(1, 8)]] * 3


def test_one_user_alone_and_nobody() -> None:
    target, users = generated(500, 1)
    found, scores = only(list(approximate_top_items(target, users, K)))
    assert recall(target, users, found, scores) >= 0.9
    assert list(approximate_top_items(target, users[:0], K)) == []


def test_vectors_with_nan_are_refused() -> None:
    target, users = generated(50, 2)
    with pytest.raises(ValueError, match="finite"):
        list(approximate_top_items(target, users * np.nan, K))


def test_lists_that_miss_items_have_less_recall() -> None:
    target, users = generated(500, 40)
    items, scores = only(list(top_items(target, users, K + 3)))
    assert recall(target, users, items[:, :K], scores[:, :K]) == 1
    # The third best is missing everywhere, and the eleventh stands in for it.
    kept = [0, 1, *range(3, K + 1)]
    assert recall(target, users, items[:, kept], scores[:, kept]) == pytest.approx(1 - 1 / K, abs=0.01)


def test_the_stage_records_its_recall(lineage: Lineage, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shutil.copytree(lineage.home.root, home.root)
    settings = lineage.settings.model_copy(update={"search": "approximate"})
    report = recommend_cold_users(home, PAIR, settings)
    assert 0.95 <= report.metrics["rating_recall"] <= 1
    assert "rating_recall" not in lineage.reports["recommendations"].metrics
