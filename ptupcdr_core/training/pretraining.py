"""Pretraining: one domain's ratings into that domain's base model."""

import numpy as np

from ptupcdr_core.models.base import BaseModel, initialize
from ptupcdr_core.models.calibrated import CalibratedModel, fit_calibrated
from ptupcdr_core.pair_data import Ratings
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.adam import RowAdam, train_epoch
from ptupcdr_core.training.validation import OnEpoch


def train_base_model(
    ratings: Ratings,
    user_count: int,
    item_count: int,
    settings: Settings,
    *,
    batch_size: int,
    stream: int,
    on_epoch: OnEpoch,
) -> BaseModel | CalibratedModel:
    """Fit the setting's base model to one domain's ratings.

    Published: Adam on the squared error of minibatches for a fixed number of epochs, as the paper does. There is no
    epoch to choose here: validation users have no target ratings to train on, so their embeddings never move.

    Args:
        ratings: the domain's training ratings.
        user_count: U.
        item_count: I.
        settings: decide the kind of model and its training.
        batch_size: ratings a step (published).
        stream: tells apart the random numbers of the two sides of a pair, which share a seed.
        on_epoch: told the training loss of every epoch.
    """
    if settings.setting == "calibrated":
        return fit_calibrated(
            ratings,
            user_count,
            item_count,
            size=settings.embedding_size,
            seed=settings.seed + stream,
            on_epoch=on_epoch,
        )
    generator = np.random.default_rng([settings.seed, stream])
    state = RowAdam.start(initialize(settings.base_model, user_count, item_count, settings.embedding_size, generator))
    for epoch in range(1, settings.epochs + 1):
        order = generator.permutation(len(ratings))
        loss = train_epoch(
            state, ratings.users, ratings.items, ratings.stars, order, batch_size, settings.learning_rate
        )
        on_epoch(epoch, {"training_loss": loss})
    return state.model()
