"""Pretraining: one domain's ratings into that domain's base model."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from ptupcdr_core.models.base import BaseModel, initialize
from ptupcdr_core.models.calibrated import CalibratedModel, fit_calibrated
from ptupcdr_core.pair_data import Ratings
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.adam import RowAdam, train_epoch
from ptupcdr_core.training.device_adam import BaseModelOnDevice
from ptupcdr_core.training.epochs import Epoch, OnEpoch
from ptupcdr_core.training.threads import worked_ahead


def base_model_epochs(
    ratings: Ratings,
    user_count: int,
    item_count: int,
    settings: Settings,
    *,
    batch_size: int,
    generator: np.random.Generator,
    device: torch.device | None = None,
) -> Iterator[Epoch[BaseModel]]:
    """Train a base model as published: Adam on the squared error of minibatches for a fixed number of epochs.

    Args:
        ratings: the training ratings, at least one.
        user_count: U.
        item_count: I.
        settings: base_model, embedding_size, epochs and learning_rate are used.
        batch_size: ratings a step.
        generator: draws the initial weights and shuffles.
        device: where torch trains; None for the compiled loops.

    Yields:
        Every epoch's model.
    """
    start = initialize(settings.base_model, user_count, item_count, settings.embedding_size, generator)
    rate = settings.learning_rate
    state: RowAdam | BaseModelOnDevice
    epoch: Callable[..., float]
    if device is None:
        state = RowAdam.start(start)
        epoch = partial(train_epoch, state, ratings.users, ratings.items, ratings.stars, learning_rate=rate)
    else:
        state = BaseModelOnDevice(start, ratings, rate, device)
        epoch = state.epoch
    orders = worked_ahead(lambda _: generator.permutation(len(ratings)), range(settings.epochs), threads=1)
    for number, order in enumerate(orders, 1):
        loss = epoch(order=order, batch_size=batch_size)
        yield Epoch(number, state.model(), {"training_loss": loss})


def train_base_model(
    ratings: Ratings,
    user_count: int,
    item_count: int,
    settings: Settings,
    *,
    batch_size: int,
    stream: int,
    on_epoch: OnEpoch,
    device: torch.device | None = None,
) -> BaseModel | CalibratedModel:
    """Fit the setting's base model to one domain's ratings.

    As published there is no epoch to choose here: validation users have no target ratings to train on, so their
    embeddings never move.

    Args:
        ratings: the domain's training ratings.
        user_count: U.
        item_count: I.
        settings: decide the kind of model and its training.
        batch_size: ratings a step (published).
        stream: tells apart the random numbers of the two sides of a pair, which share a seed.
        on_epoch: told the training loss of every epoch.
        device: where torch trains; None for the compiled loops.
    """
    if settings.setting == "calibrated":
        return fit_calibrated(
            ratings,
            user_count,
            item_count,
            size=settings.embedding_size,
            seed=settings.seed + stream,
            on_epoch=on_epoch,
            device=device,
        )
    generator = np.random.default_rng([settings.seed, stream])
    for epoch in base_model_epochs(
        ratings, user_count, item_count, settings, batch_size=batch_size, generator=generator, device=device
    ):
        on_epoch(epoch.number, epoch.metrics)
        model = epoch.candidate
    return model
