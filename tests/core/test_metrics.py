"""Errors of predictions: worked out by hand, per user and in total; and scores in blocks."""

from dataclasses import replace

import numpy as np
import pytest
from small_pair import small_pair

from ptupcdr_core.data.pair_data import Ratings, Scale
from ptupcdr_core.errors import EvaluationError
from ptupcdr_core.evaluation.cold_start import evaluate, evaluate_reliability, score
from ptupcdr_core.kernels import target_items as scorer
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.rating_errors import rating_errors
from ptupcdr_core.settings import Settings

SCALE = Scale(1, 5)


def ratings(users: list[int], stars: list[float]) -> Ratings:
    return Ratings(np.array(users, np.int32), np.arange(1, len(users) + 1, dtype=np.int32), np.array(stars, np.float32))


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_errors_by_hand() -> None:
    errors = rating_errors(scores(3, 5, 2, 4.5), ratings([9, 2, 9, 2], [4, 5, 5, 4]), SCALE)
    assert errors.users.tolist() == [2, 9]
    assert errors.counts.tolist() == [2, 2]
    assert errors.absolute.tolist() == [0.5, 4]
    assert errors.squared.tolist() == [0.25, 10]
    assert errors.mae == 4.5 / 4
    assert errors.rmse == pytest.approx(np.sqrt(10.25 / 4))


def test_a_score_off_the_scale_counts_as_the_scales_end() -> None:
    of = ratings([1, 2, 3], [1, 5, 5])
    assert rating_errors(scores(-7, 9, 4), of, SCALE).absolute.tolist() == [0, 0, 1]
    assert rating_errors(scores(-7, 9, 4), of, None).absolute.tolist() == [8, 4, 1]


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_missing_score_is_an_error_that_says_where(missing: float) -> None:
    with pytest.raises(
        EvaluationError, match="1 of 3 scores are missing or infinite, the first for user index 8, item"
    ):
        rating_errors(scores(3, missing, 3), ratings([7, 8, 9], [3, 3, 3]), SCALE)


@pytest.mark.parametrize("count", [0, 2])
def test_as_many_scores_as_ratings_are_needed(count: int) -> None:
    with pytest.raises(EvaluationError, match=f"{count} scores for 3 ratings"):
        rating_errors(scores(*[3] * count), ratings([7, 8, 9], [3, 3, 3]), SCALE)


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="0 scores for 0 ratings"):
        rating_errors(scores(), ratings([], []), SCALE)


def test_users_sums_add_up_to_the_errors_over_all_ratings() -> None:
    data = small_pair()
    methods = simple_baselines(data)
    ids = np.array([f"user {index}" for index in range(data.user_count + 1)], object)
    scored = score(data, methods, Settings())
    summary, details = evaluate(data, scored, Settings(), ids)
    assert summary["method"].tolist() == ["global_mean", "item_mean", "source_offset"]
    for row, method, found in zip(summary.itertuples(), methods, scored, strict=True):
        errors = data.target_scale.clip(method.score(data.target_test)).astype(float) - data.target_test.stars
        assert row.mae_of_mean == pytest.approx(np.abs(errors).mean())
        assert row.rmse == pytest.approx(np.sqrt(np.square(errors).mean()))
        assert row.mae == pytest.approx(np.abs(found.medians - data.target_test.stars).mean())
        own = details[details["method"] == row.method]
        assert own["user_id"].tolist() == ids[data.cohorts["test"]].tolist()
        assert own["ratings"].sum() == row.ratings == len(data.target_test)
        assert own["absolute_error"].sum() / row.ratings == pytest.approx(row.mae)
        assert np.sqrt(own["squared_error"].sum() / row.ratings) == pytest.approx(row.rmse)


def test_every_method_is_calibrated_on_validation_users_and_none_as_published() -> None:
    data, published = small_pair(), Settings(recipe="published")
    scored = score(data, simple_baselines(data), Settings())
    for method in scored:
        if not np.array_equal(method.medians, method.means):
            assert set(method.medians.tolist()) <= {1, 2, 3, 4, 5}
    other = replace(data, target_test=replace(data.target_test, stars=6 - data.target_test.stars))
    for method, again in zip(scored, score(other, simple_baselines(other), Settings()), strict=True):
        np.testing.assert_array_equal(method.medians, again.medians, err_msg="test ratings decide nothing")
    for method in score(data, simple_baselines(data), published):
        assert method.distributions is None
        np.testing.assert_array_equal(method.medians, method.means)
    summary, _ = evaluate(data, score(data, simple_baselines(data), published), published, np.arange(63).astype(object))
    assert summary["log_loss"].isna().all()
    np.testing.assert_array_equal(summary["mae"], summary["mae_of_mean"])


def test_the_reliability_table_counts_every_rating_once_a_level() -> None:
    data = small_pair()
    table = evaluate_reliability(data, score(data, simple_baselines(data), Settings()), Settings())
    levels = np.unique(data.target_train.stars)[1:]
    counts = table.groupby(["method", "at_least"])["ratings"].sum()
    assert counts.eq(len(data.target_test)).all()
    assert len(counts) == 3 * len(levels)
    assert table["predicted"].between(table["low"], table["high"]).all()
    for level, rows in table[table["method"] == "item_mean"].groupby("at_least"):
        reached = (rows["observed"] * rows["ratings"]).sum() / len(data.target_test)
        assert reached == pytest.approx((data.target_test.stars >= level).mean())


def test_an_evaluation_with_a_missing_score_is_none() -> None:
    data = small_pair()
    good = simple_baselines(data)[0]
    blind = replace(good, embed=lambda users: np.where(users == users[-1], np.nan, good.embed(users)[:, 0])[:, None])
    with pytest.raises(EvaluationError, match=f"user index {data.cohorts['test'][-1]}"):
        score(data, [good, blind], Settings())


def test_a_score_is_the_items_offset_and_a_dot_product(monkeypatch: pytest.MonkeyPatch) -> None:
    items = TargetItems(np.array([[0, 0], [1, 2], [3, -1]], np.float32), scores(0, 10, 20))
    users, couples = np.array([[1, 1], [0, 2]], np.float32), (np.array([0, 1, 1, 0]), np.array([2, 2, 1, 1]))
    expected = [22, 18, 14, 13]
    assert items.score(users, *couples).tolist() == expected
    monkeypatch.setattr(scorer, "BLOCK", 3)
    assert items.score(users, *couples).tolist() == expected
    assert items.score(users, couples[0][:0], couples[1][:0]).shape == (0,)


def test_a_method_embeds_each_user_once_and_scores_in_the_ratings_order() -> None:
    asked = []

    def embed(users: np.ndarray) -> np.ndarray:
        asked.extend(users.tolist())
        return users[:, None].astype(np.float32)

    method = FittedMethod("index", TargetItems(np.ones((5, 1), np.float32), np.zeros(5, np.float32)), embed)
    assert method.score(ratings([3, 1, 3, 2], [5, 5, 5, 5])).tolist() == [3, 1, 3, 2]
    assert asked == [1, 2, 3]
