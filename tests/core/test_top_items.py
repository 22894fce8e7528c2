"""Exact search: the same lists as by scoring everything, in work that does not grow with users times items."""

import numpy as np
import pytest

from ptupcdr_core.kernels.exact_search import highest


def by_sorting(users, items, offsets, count):
    scores = offsets.astype(np.float64) + users.astype(np.float64) @ items.T.astype(np.float64)
    order = np.lexsort((np.broadcast_to(np.arange(len(items)), scores.shape), -scores), axis=1)[:, :count]
    return order, np.take_along_axis(scores, order, 1)


@pytest.mark.parametrize(
    ("users", "items", "size", "count"), [(1, 1, 1, 5), (3, 64, 4, 10), (50, 300, 10, 7), (2, 65, 3, 65)]
)
@pytest.mark.parametrize("offset_scale", [0.0, 1.0])
def test_lists_are_those_of_scoring_everything(users, items, size, count, offset_scale):
    rng = np.random.default_rng(users * items)
    u, v = (rng.standard_normal((n, size)).astype(np.float32) for n in (users, items))
    u *= rng.exponential(size=(users, 1)).astype(np.float32)
    offsets = (offset_scale * rng.standard_normal(items)).astype(np.float32)
    found = highest(u, v, offsets, count)
    wanted, scores = by_sorting(u, v, offsets, count)
    np.testing.assert_array_equal(found.items, wanted)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-5)


def test_equal_scores_are_listed_by_index():
    users, items = np.ones((2, 2), np.float32), np.ones((200, 2), np.float32)
    found = highest(users, items, np.zeros(200, np.float32), 5)
    np.testing.assert_array_equal(found.items, [[0, 1, 2, 3, 4]] * 2)


def test_a_user_without_direction_gets_the_highest_offsets():
    offsets = np.arange(100, dtype=np.float32)
    found = highest(np.zeros((1, 3), np.float32), np.ones((100, 3), np.float32), offsets, 3)
    np.testing.assert_array_equal(found.items, [[99, 98, 97]])


def test_no_users_and_no_items_give_empty_lists():
    nobody, nothing = np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)
    assert highest(nobody, np.ones((4, 3), np.float32), np.zeros(4, np.float32), 2).items.shape == (0, 2)
    assert highest(np.ones((4, 3), np.float32), nothing, np.zeros(0, np.float32), 2).items.shape == (4, 0)


def test_a_list_depends_neither_on_other_users_nor_on_threads(use_threads):
    rng = np.random.default_rng(0)
    u, v, o = rng.normal(size=(40, 6)), rng.normal(size=(500, 6)), rng.normal(size=500)
    u, v, o = (array.astype(np.float32) for array in (u, v, o))
    use_threads(2)
    together = highest(u, v, o, 9)
    use_threads(1)
    alone = [highest(u[k : k + 1], v, o, 9) for k in range(40)]
    np.testing.assert_array_equal(together.items, np.concatenate([found.items for found in alone]))
    np.testing.assert_array_equal(together.scores, np.concatenate([found.scores for found in alone]))


def test_work_is_at_most_linear_in_users_and_in_items():
    rng = np.random.default_rng(0)
    u, v = (rng.standard_normal((n, 10)).astype(np.float32) for n in (400, 20_000))
    offsets = np.zeros(20_000, np.float32)
    computed = highest(u, v, offsets, 10).computed
    assert computed < 0.5 * len(u) * len(v)
    assert computed < 2.2 * highest(u[::2], v, offsets, 10).computed
    assert computed < 2.2 * highest(u, v[::2], offsets[::2], 10).computed
