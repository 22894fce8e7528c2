"""The rule of evidence: worked out by hand, and how often it errs on planted gains."""

import numpy as np
import pytest

from ptupcdr_core.training.evidence import best_that_earns, earns_its_place

DRAWS = 2_000


def test_gain_and_standard_error_by_hand() -> None:
    evidence = earns_its_place(np.array([3.0, 5.0, 4.0]), np.array([2.0, 3.0, 4.0]))
    assert evidence.gain == 1
    assert evidence.standard_error == pytest.approx(1 / np.sqrt(3))
    assert evidence.certainty == pytest.approx(np.sqrt(3))


def test_three_users_have_to_say_it_more_clearly_than_a_thousand() -> None:
    few, many = (earns_its_place(np.ones(users), np.zeros(users)) for users in (3, 1_000))
    assert few.needed > 4 > 2.01 > many.needed > 2


def test_no_gain_is_no_evidence_and_everybodys_gain_is_enough() -> None:
    assert not earns_its_place(np.ones(50), np.ones(50)).earned
    assert earns_its_place(np.ones(50), np.zeros(50)).earned
    assert not earns_its_place(np.zeros(50), np.ones(50)).earned


def test_one_user_or_none_is_no_evidence() -> None:
    assert not earns_its_place(np.ones(1), np.zeros(1)).earned
    assert not earns_its_place(np.ones(0), np.zeros(0)).earned


def test_losses_of_other_users_or_missing_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="same users"):
        earns_its_place(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="no loss"):
        earns_its_place(np.ones(3), np.array([1, np.nan, 1]))


def gains(rng: np.random.Generator, users: int, standard_errors: float) -> np.ndarray:
    """Gains of this mean, in standard errors; heavy-tailed, as where some users have many ratings and most have few."""
    ratings = np.ceil(rng.pareto(2.5, users) + 1)
    return rng.normal(0, np.sqrt(ratings)) + standard_errors * np.sqrt(8 / 3 / users)


@pytest.mark.parametrize("users", [10, 100, 1_000])
def test_a_useless_part_is_seldom_taken_and_a_useful_one_seldom_missed(users: int) -> None:
    rng = np.random.default_rng(users)

    def taken(standard_errors: float) -> float:
        found = [earns_its_place(gains(rng, users, standard_errors), np.zeros(users)) for _ in range(DRAWS)]
        return float(np.mean([evidence.earned for evidence in found]))

    assert taken(0) < 0.035
    assert taken(4) > 0.93


def test_choosing_among_strengths_of_a_useless_part_takes_it_little_more_often() -> None:
    """The strengths of one part err together: half of it gains half as much, and costs a quarter."""
    rng = np.random.default_rng(1)
    taken = 0
    for _ in range(DRAWS):
        linear, cost = rng.normal(0, 1, 200), rng.chisquare(1, 200) * 0.05
        strengths = {s: s**2 * cost - s * linear for s in (0.125, 0.25, 0.5, 1.0)}
        taken += best_that_earns(np.zeros(200), strengths)[0] is not None
    assert taken / DRAWS < 0.035


def test_the_best_of_several_unrelated_useless_parts_is_taken_more_often() -> None:
    """Why candidates of one part are compared in one call, and why they should be few."""
    rng = np.random.default_rng(2)
    found = [best_that_earns(np.zeros(200), dict(enumerate(rng.normal(0, 1, (4, 200)))))[0] for _ in range(DRAWS)]
    rate = float(np.mean([name is not None for name in found]))
    assert 0.06 < rate < 0.12


def test_the_best_candidate_is_named() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.1, 50)
    name, evidence = best_that_earns(np.ones(50), {"worse": 2 + noise, "good": 0.5 + noise, "better": noise})
    assert name == "better"
    assert evidence.gain == pytest.approx(1, abs=0.1)
