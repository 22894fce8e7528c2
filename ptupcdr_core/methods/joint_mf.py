"""Joint factorization of the baselines' residuals in both domains: item mean + source offset + p · q.

One set of factors for users × (source items, target items), by alternating least squares; a cold-start user's are
solved from the source ratings alone. Penalty and strength of the factors are chosen on validation users; strength 0
means no factors.
"""

from collections.abc import Iterator
from typing import get_args

import numpy as np

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.rating_errors import rating_errors
from ptupcdr_core.settings import Recipe
from ptupcdr_core.training.als import Entries, Plan, als, fold_in
from ptupcdr_core.training.epochs import BestEpoch, Epoch
from ptupcdr_core.training.source_offset import SourceOffset, fit_source_offset
from ptupcdr_core.training.variance_components import fit_effects

PENALTIES = (4.0, 10.0, 25.0)
"""Ridge penalties of the factors that are tried."""
STRENGTHS = (0.0, 0.5, 1.0)
"""Weights of the factors that are tried; 0: none."""
ITERATIONS = 10


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """The combination that is best for validation users, as the only epoch."""
    data, best = experiment.data, BestEpoch[FittedMethod]()
    offset = fit_source_offset(data)
    for penalty in PENALTIES:
        users, items = joint_factors(data, experiment.settings.embedding_size, penalty, experiment.settings.seed)
        for strength in STRENGTHS:
            method = _fitted(offset, strength * users, items)
            scores = method.score(data.target_validation)
            best.offer(0, rating_errors(scores, data.target_validation, data.scale).rmse, method)
    yield Epoch(0, best.candidate, {})


def joint_factors(data: PairData, size: int, penalty: float, seed: int) -> tuple[Floats, Floats]:
    """(U+1, D) users, by their source ratings alone, and (T+1, D) target items."""
    source, train, first = data.source, data.target_train, data.source_item_count
    beyond_source = _beyond_effects(source, data.user_count, first)
    beyond_target = _beyond_effects(train, data.user_count, data.target_item_count)
    both = Entries(
        np.concatenate([source.users, train.users]),
        np.concatenate([source.items, train.items + np.int32(first)]),
        np.concatenate([beyond_source, beyond_target]),
        data.user_count,
        first + data.target_item_count,
    )
    ridge = Ridge(penalty, weighted=False)
    _, items = als(both, Plan(size, ridge, ridge, ITERATIONS, seed))
    rows = compress(source.users, source.items, beyond_source, data.user_count)
    users = fold_in(rows, items[: first + 1].copy(), regularization=penalty, weighted=False)
    target = items[first:].copy()
    target[0] = 0  # row 0 is the padding; the last source item was there
    return users, target


def _beyond_effects(ratings: Ratings, user_count: int, item_count: int) -> Floats:
    """(N,) residuals of mean, item and user effects."""
    effects = fit_effects(ratings, user_count, item_count)
    expected = effects.mean + effects.items[ratings.items] + effects.users[ratings.users]
    return np.asarray(ratings.stars - expected, np.float32)


def _fitted(offset: SourceOffset, users: Floats, items: Floats) -> FittedMethod:
    vectors = np.concatenate([np.ones((len(items), 1), np.float32), items], axis=1)

    def embed(wanted: Index) -> Floats:
        return np.concatenate([offset.users[wanted, None], users[wanted]], axis=1)

    return FittedMethod("joint_mf", TargetItems(vectors, offset.items), embed)


METHODS = (Method("joint_mf", fit, Needs.RATINGS, get_args(Recipe)),)
