"""Re-ranking for the long tail: worked out by hand, and its effect on stored lists."""

import numpy as np
import pytest

from ptupcdr_core.serving.long_tail import less_popular

ITEMS = np.array([[4, 2, 3, 1], [1, 2, 0, 0]])
SCORES = np.array([[9, 8, 7, 6], [5, 4, -np.inf, -np.inf]], np.float32)
TAKEN = np.array([0, 1, 90, 5, 60], np.float32)


@pytest.mark.parametrize(("share", "kept"), [(0.0, [4, 2]), (0.5, [4, 3]), (1.0, [3, 1])])
def test_more_share_shows_less_popular_items_and_lists_stay_ordered_by_score(share: float, kept: list[int]) -> None:
    [(start, items, scores)] = less_popular(iter([(7, ITEMS, SCORES)]), TAKEN, 2, share)
    assert start == 7
    assert items[0].tolist() == kept
    assert (np.diff(scores, axis=1) <= 0).all()


def test_lists_that_are_short_stay_short_at_their_end() -> None:
    [(_, items, _)] = less_popular(iter([(0, ITEMS, SCORES)]), TAKEN, 3, 1.0)
    assert items[1].tolist() == [1, 2, 0]
