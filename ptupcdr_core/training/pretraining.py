"""Pretraining: one domain's ratings into that domain's base model."""

from collections.abc import Iterator

import numpy as np

from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.data.pair_data import SIDES, PairData, Ratings, Side
from ptupcdr_core.engines.base import Engine, Passes
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.models.base import BaseModel, initialize
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.calibrated import fit_calibrated
from ptupcdr_core.training.calibrated_model import CalibratedModel
from ptupcdr_core.training.epochs import Epoch, OnEpoch


def base_model_epochs(
    ratings: Ratings,
    user_count: int,
    item_count: int,
    settings: Settings,
    *,
    batch_size: int,
    generator: np.random.Generator,
    engine: Engine = COMPILED,
) -> Iterator[Epoch[BaseModel]]:
    """Train a base model as published: Adam on the squared error of minibatches for a fixed number of epochs.

    Args:
        ratings: the training ratings, at least one.
        user_count: U.
        item_count: I.
        settings: base_model, embedding_size, epochs and learning_rate are used.
        batch_size: ratings a step.
        generator: draws the initial weights and shuffles.
        engine: trains.

    Yields:
        Every epoch's model.
    """
    start = initialize(settings.base_model, user_count, item_count, settings.embedding_size, generator)
    passes = Passes(settings.epochs, batch_size, settings.learning_rate, generator)
    for number, (loss, model) in enumerate(engine.base_model(start, ratings, passes), 1):
        yield Epoch(number, model, {"training_loss": loss})


def train_base_model(
    ratings: Ratings,
    user_count: int,
    item_count: int,
    settings: Settings,
    *,
    blocks: Blocks | None = None,
    batch_size: int,
    stream: int,
    on_epoch: OnEpoch,
    engine: Engine = COMPILED,
) -> BaseModel | CalibratedModel:
    """Fit the recipe's base model to one domain's ratings.

    In the reference's recipes no epoch can be chosen here: validation users have no target ratings to train on, so
    their embeddings never move.

    Args:
        ratings: the domain's training ratings.
        user_count: U.
        item_count: I.
        settings: decide the kind of model and its training.
        blocks: the items of several domains; the reference's models treat them as one.
        batch_size: ratings a step (published).
        stream: separates the random numbers of a pair's two sides, which share a seed.
        on_epoch: called with the training loss of every epoch.
        engine: trains.
    """
    if settings.recipe == "calibrated":
        return fit_calibrated(
            ratings,
            user_count,
            item_count,
            blocks=blocks,
            size=settings.embedding_size,
            seed=settings.seed + stream,
            on_epoch=on_epoch,
            users_last=stream == SIDES.index("source"),
            engine=engine,
        )
    generator = np.random.default_rng([settings.seed, stream])
    for epoch in base_model_epochs(
        ratings, user_count, item_count, settings, batch_size=batch_size, generator=generator, engine=engine
    ):
        on_epoch(epoch.number, epoch.metrics)
        model = epoch.candidate
    return model


def train_side(
    data: PairData, side: Side, settings: Settings, on_epoch: OnEpoch, engine: Engine = COMPILED
) -> BaseModel | CalibratedModel:
    """Fit the base model of one side of a pair to that side's training ratings (see ``train_base_model``)."""
    ratings, items = data.trained_on(side)
    return train_base_model(
        ratings,
        data.user_count,
        items,
        settings,
        blocks=data.blocks_of(side),
        batch_size={"source": settings.source_batch_size, "target": settings.target_batch_size}[side],
        stream=SIDES.index(side),
        on_epoch=on_epoch,
        engine=engine,
    )
