"""Choosing on validation users: a bridge's errors on people it was not trained on."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import numpy as np

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.models.bridges import SourceSide
from ptupcdr_core.models.rating_errors import RatingErrors, rating_errors
from ptupcdr_core.training.epochs import BestEpoch, Epoch, OnEpoch
from ptupcdr_core.training.task import BridgeTask


class Bridge(Protocol):
    """Anything that gives users an embedding in the target domain."""

    def embed(self, source: SourceSide, users: Index) -> Floats:
        """(R, Y) embeddings of (R,) users."""


AnyBridge = TypeVar("AnyBridge", bound=Bridge)


def validation_errors(task: BridgeTask, embed: Callable[[Index], Floats]) -> RatingErrors:
    """Errors on the validation users' target ratings, predictions clipped to the scale.

    Args:
        task: the pair's bridge training.
        embed: gives (R, Y) embeddings for (R,) user indices.
    """
    users, rows = np.unique(task.validation.users, return_inverse=True)
    scores = task.target.score(embed(users), rows, task.validation.items)
    return rating_errors(scores, task.validation, task.scale)


def choose(
    epochs: Iterable[Epoch[AnyBridge]],
    task: BridgeTask,
    on_epoch: OnEpoch,
    *,
    patience: int | None = None,
) -> BestEpoch[AnyBridge]:
    """Watch a bridge's training and keep the epoch with the lowest validation RMSE.

    Args:
        epochs: the training.
        task: has the validation ratings.
        on_epoch: called with every epoch's metrics and validation errors.
        patience: stop after this many epochs without a better one; None: never.
    """
    best: BestEpoch[AnyBridge] = BestEpoch()
    for epoch in epochs:
        bridge = epoch.candidate
        errors = validation_errors(task, lambda users, bridge=bridge: bridge.embed(task, users))  # type: ignore[misc]
        on_epoch(epoch.number, {**epoch.metrics, "validation_mae": errors.mae, "validation_rmse": errors.rmse})
        best.offer(epoch.number, errors.rmse, bridge)
        if patience is not None and epoch.number - best.number >= patience:
            break
    return best
