"""Known answers: what is different, what is not, and what may not be compared."""

import numpy as np
import pandas as pd
import pytest

from ptupcdr_core.errors import EvaluationError
from ptupcdr_core.evaluation.significance import (
    PairedErrors,
    best_methods,
    bootstrap,
    compare,
    holm,
    over_seeds,
    pair_errors,
    pair_lists,
    signed_rank,
)


def rows(method: str, user: str, ratings: int, absolute: float, squared: float, seed: int = 1) -> dict:
    return {"method": method, "seed": seed, "user_id": user, "ratings": ratings,
            "absolute_error": absolute, "squared_error": squared}  # fmt: skip


def planted(users: int = 400) -> PairedErrors:
    """A clear winner, its twin with noise around it, and a loser."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, users).astype(float)
    absolute = counts * rng.uniform(0.4, 0.8, users)
    noisy = absolute * np.exp(rng.normal(0, 0.02, users))
    errors = np.array([absolute, absolute + 0.2 * counts, noisy])
    return PairedErrors(("best", "loser", "twin"), counts, errors, errors**2 / counts)


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04, never decreasing.
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.02])), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])


def test_signed_rank_of_known_differences():
    assert signed_rank(np.zeros(10)) == 1
    assert signed_rank(np.array([1.0, -1.0] * 20)) == pytest.approx(1)
    # All 20 positive: W = 0, mean 105, variance 20·21·41/24 = 717.5; z = 105 / √717.5 = 3.92.
    assert signed_rank(np.arange(1.0, 21)) == pytest.approx(8.86e-5, rel=0.01)


def test_errors_are_paired_by_user_over_seeds():
    table = pd.DataFrame(
        [rows("a", "ann", 2, 1.0, 1.0, 1), rows("a", "ann", 2, 3.0, 5.0, 2), rows("a", "bob", 1, 2.0, 4.0, 2),
         rows("b", "ann", 2, 2.0, 2.0, 1), rows("b", "ann", 2, 2.0, 2.0, 2), rows("b", "bob", 1, 0.0, 0.0, 2)]
    )  # fmt: skip
    errors = pair_errors(table)
    np.testing.assert_array_equal(errors.counts, [4, 1])
    np.testing.assert_array_equal(errors.absolute, [[4, 2], [4, 0]])
    np.testing.assert_array_equal(errors.squared, [[6, 4], [4, 0]])
    measures = errors.measures(np.ones((2, 1)))
    np.testing.assert_allclose(measures["mae"][:, 0], [6 / 5, 4 / 5])
    np.testing.assert_allclose(measures["rmse"][:, 0], [np.sqrt(10 / 5), np.sqrt(4 / 5)])


def test_lists_are_compared_by_the_mean_over_users_whatever_they_took():
    """Ann took 9 items and bob 1; a is better by 0.2 on average, with a deviation of 0.1 / √200."""
    users = [f"{name}{n}" for n in range(100) for name in ("ann", "bob")]
    table = pd.concat(
        pd.DataFrame({"method": method, "user_id": users, "ratings": [9, 1] * 100, "ndcg_at_10": gains * 100})
        for method, gains in (("a", [0.7, 0.5]), ("b", [0.4, 0.4]))
    )
    lists = pair_lists(table)
    np.testing.assert_allclose(lists.measures(np.ones((200, 1)))["ndcg_at_10"][:, 0], [0.6, 0.4])
    [row] = compare(lists).to_dict("records")
    assert (row["first"], row["second"], row["metric"]) == ("a", "b", "ndcg_at_10")
    assert row["difference"] == pytest.approx(0.2)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * 0.1 / np.sqrt(200), rel=0.1)
    with pytest.raises(EvaluationError, match="different ratings"):
        pair_lists(table[:-1])


@pytest.mark.parametrize(
    "other", [rows("b", "bob", 2, 1, 1), rows("b", "ann", 3, 1, 1)], ids=["other user", "other ratings"]
)
def test_what_was_measured_on_different_ratings_is_not_compared(other):
    with pytest.raises(EvaluationError, match="different ratings"):
        pair_errors(pd.DataFrame([rows("a", "ann", 2, 1, 1), other]))


def test_the_bootstrap_is_the_spread_of_a_mean():
    rng = np.random.default_rng(1)
    errors = rng.exponential(1, (1, 500))
    drawn = bootstrap(PairedErrors(("a",), np.ones(500), errors, errors**2), resamples=4000)["mae"][0]
    assert drawn.mean() == pytest.approx(errors.mean(), abs=0.01)
    assert drawn.std() == pytest.approx(errors.std() / np.sqrt(500), rel=0.05)
    again = bootstrap(PairedErrors(("a",), np.ones(500), errors, errors**2), resamples=4000)["mae"][0]
    np.testing.assert_array_equal(drawn, again)


def test_a_planted_difference_is_found_and_a_twin_is_none():
    table = compare(planted()).set_index(["first", "second", "metric"])
    loses = table.loc[("best", "loser", "mae")]
    assert loses["difference"] == pytest.approx(-0.2)
    assert loses["low"] == pytest.approx(-0.2)
    assert loses["high"] == pytest.approx(-0.2)
    assert loses["different"]
    assert loses["p_holm"] < 1e-10
    twin = table.loc[("best", "twin", "mae")]
    assert twin["low"] < 0 < twin["high"]
    assert not twin["different"]
    assert twin["p"] > 0.05
    assert loses["wilcoxon_holm"] < 1e-10
    assert best_methods(planted(), "mae") == {"best", "twin"}
    assert best_methods(planted(), "rmse") == {"best", "twin"}


def test_the_corrected_p_grows_with_the_comparisons():
    alone = compare(planted(), [("best", "twin")])
    among = compare(planted())
    among = among[(among["first"] == "best") & (among["second"] == "twin")].reset_index(drop=True)
    for p in ("p", "wilcoxon"):
        corrected = "p_holm" if p == "p" else "wilcoxon_holm"
        np.testing.assert_allclose(alone[p], among[p])
        np.testing.assert_array_equal(alone[corrected], alone[p])
        assert (among[corrected] >= among[p]).all()


def test_the_tables_difference_and_the_users_vote_can_disagree():
    # 99 users with one rating each are a little better off with a, one user with 400 ratings much worse.
    counts = np.array([1.0] * 99 + [400])
    a, b = 0.5 * counts, np.array([0.6] * 99 + [0.4 * 400])
    errors = PairedErrors(("a", "b"), counts, np.array([a, b]), np.array([a, b]) ** 2 / counts)
    row = compare(errors).iloc[0]
    assert row["difference"] > 0, "a is worse where ratings count"
    assert not row["different"], "but that hangs on one user"
    assert row["wilcoxon_holm"] < 1e-6


def test_mean_and_deviation_over_seeds():
    cell = {"pair": "a__b", "recipe": "honest", "mode": "rating", "beta": 0.2, "base_model": "mf", "method": "tgt"}
    table = pd.DataFrame(
        {**cell, "seed": seed, "mae": mae, "rmse": 2 * mae, "seconds": 1.0} for seed, mae in ((1, 1.0), (2, 3.0))
    )
    row = over_seeds(table).iloc[0]
    assert (row["seeds"], row["mae"], row["rmse"]) == (2, 2, 4)
    assert row["mae_std"] == pytest.approx(np.sqrt(2))
