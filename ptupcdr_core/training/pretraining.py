"""Pretraining: one domain's ratings into that domain's base model."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import SIDES, PairData, Ratings, Side
from ptupcdr_core.engines.torch_adam import BaseModelOnDevice
from ptupcdr_core.kernels.adam import Reordered
from ptupcdr_core.kernels.threads import worked_ahead
from ptupcdr_core.models.base import BaseModel, initialize
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.adam import RowAdam, shuffled, train_epoch
from ptupcdr_core.training.calibrated import CalibratedModel, fit_calibrated
from ptupcdr_core.training.epochs import Epoch, OnEpoch


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
    rate, passes = settings.learning_rate, range(settings.epochs)

    def order(_: int) -> NDArray[np.int64]:
        return generator.permutation(len(ratings))

    def in_order(_: int) -> Reordered:
        return shuffled(ratings.users, ratings.items, ratings.stars, generator)

    state: RowAdam | BaseModelOnDevice
    if device is None:
        state = rows = RowAdam.start(start)
        losses = (train_epoch(rows, *columns, batch_size, rate) for columns in worked_ahead(in_order, passes, 1))
    else:
        state = tables = BaseModelOnDevice(start, ratings, rate, device)
        losses = (tables.epoch(drawn, batch_size) for drawn in worked_ahead(order, passes, 1))
    for number, loss in enumerate(losses, 1):
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
    """Fit the recipe's base model to one domain's ratings.

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
    if settings.recipe == "calibrated":
        return fit_calibrated(
            ratings,
            user_count,
            item_count,
            size=settings.embedding_size,
            seed=settings.seed + stream,
            on_epoch=on_epoch,
            users_last=stream == SIDES.index("source"),
            device=device,
        )
    generator = np.random.default_rng([settings.seed, stream])
    for epoch in base_model_epochs(
        ratings, user_count, item_count, settings, batch_size=batch_size, generator=generator, device=device
    ):
        on_epoch(epoch.number, epoch.metrics)
        model = epoch.candidate
    return model


def train_side(
    data: PairData, side: Side, settings: Settings, on_epoch: OnEpoch, device: torch.device | None = None
) -> BaseModel | CalibratedModel:
    """Fit the base model of one side of a pair to that side's training ratings (see ``train_base_model``)."""
    ratings, items = data.trained_on(side)
    return train_base_model(
        ratings,
        data.user_count,
        items,
        settings,
        batch_size={"source": settings.source_batch_size, "target": settings.target_batch_size}[side],
        stream=SIDES.index(side),
        on_epoch=on_epoch,
        device=device,
    )
