"""The joint factorization: a taste that both domains share is found, and where there is none, nothing is added."""

from dataclasses import replace

import numpy as np
from small_pair import small_pair

from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.joint_mf import fit
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.rating_errors import rating_errors
from ptupcdr_core.settings import Settings


def with_shared_taste(strength: float) -> PairData:
    """Half of the people love what the others hate, in both domains; the harshness of each person carries over."""
    data, rng = small_pair(), np.random.default_rng(7)
    taste = np.where(np.arange(data.user_count + 1) % 2, 1, -1)

    def rated(ratings: Ratings) -> Ratings:
        kind = np.where(ratings.items % 2, 1, -1)
        stars = 3 + strength * taste[ratings.users] * kind + rng.normal(0, 0.7, len(ratings))
        return replace(ratings, stars=np.clip(stars, 1, 5).astype(np.float32))

    parts = {
        name: rated(getattr(data, name)) for name in ("source", "target_train", "target_validation", "target_test")
    }
    return replace(data, **parts)


def errors(data: PairData) -> tuple[float, float]:
    """RMSE of the joint factorization and of item mean + source offset on the test users."""
    [epoch] = fit(Experiment(data, Settings(embedding_size=2)))

    def rmse(method: FittedMethod) -> float:
        return rating_errors(method.score(data.target_test), data.target_test, data.target_scale).rmse

    return rmse(epoch.candidate), rmse(simple_baselines(data)[2])


def test_a_shared_taste_is_carried_over() -> None:
    joint, offset = errors(with_shared_taste(1.0))
    assert joint < 0.85 * offset


def test_where_nothing_is_shared_it_is_about_the_baseline() -> None:
    joint, offset = errors(with_shared_taste(0.0))
    assert joint < 1.03 * offset


def test_test_ratings_decide_nothing() -> None:
    data = with_shared_taste(1.0)
    other = replace(data, target_test=replace(data.target_test, stars=6 - data.target_test.stars))
    scores = [
        next(fit(Experiment(of, Settings(embedding_size=2)))).candidate.score(data.target_test) for of in (data, other)
    ]
    np.testing.assert_array_equal(*scores)
