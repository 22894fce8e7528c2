"""The searches that a server prepares find the same items as the searches that they are made from."""

import numpy as np
import pytest

from ptupcdr_core.kernels.approximate_search import recall
from ptupcdr_core.kernels.exact_search import top_items
from ptupcdr_core.kernels.prepared_search import KEPT, PreparedGraph, PreparedItems
from ptupcdr_core.kernels.target_items import TargetItems

ITEMS, SIZE = 3_000, 6


def generated(users: int, spread: float = 2.0) -> tuple[TargetItems, np.ndarray]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ITEMS + 1, SIZE)).astype(np.float32)
    offsets = rng.normal(size=ITEMS + 1).astype(np.float32)
    lengths = rng.lognormal(0, spread, (users, 1))
    return TargetItems(vectors, offsets), (rng.normal(size=(users, SIZE)) * lengths).astype(np.float32)


def test_kept_layouts_change_nothing() -> None:
    target, users = generated(200)
    users[7] = 0.0
    search = PreparedItems(target)
    for few in (users[:1], users[7:8], users[3:50], users):
        [(_, items, scores)], [(_, expected, theirs)] = search(target, few, 10), top_items(target, few, 10)
        np.testing.assert_array_equal(items, expected)
        np.testing.assert_allclose(scores, theirs, rtol=1e-6)
    for user in users[:, None]:
        list(search(target, user, 1))
    assert len(search._layouts) <= KEPT


def test_a_part_of_the_items_is_searched_for_itself() -> None:
    target, users = generated(5)
    part = TargetItems(target.vectors[:100], target.offset[:100])
    for search in (PreparedItems(target), PreparedGraph(target, users)):
        [(_, items, _)], [(_, expected, _)] = search(part, users, 10), top_items(part, users, 10)
        np.testing.assert_array_equal(items, expected)


@pytest.mark.parametrize("count", [1, 2, 60])
def test_a_kept_graph_finds_nearly_all(count: int) -> None:
    target, users = generated(300, spread=0.3)
    [(_, items, scores)] = PreparedGraph(target, users)(target, users[:count], 10)
    assert items.shape == (count, 10)
    assert recall(target, users[:count], items, scores) > 0.9


def test_numbers_must_be_finite() -> None:
    target, users = generated(3)
    users[1, 2] = np.nan
    for search in (PreparedItems(target), PreparedGraph(target, users[:1])):
        with pytest.raises(ValueError, match="finite"):
            list(search(target, users, 5))
