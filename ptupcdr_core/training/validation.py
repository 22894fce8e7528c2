"""Choosing by validation users: what a bridge would score on people it was not trained on."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ptupcdr_core.evaluation.metrics import RatingErrors, rating_errors
from ptupcdr_core.pair_data import Floats, Index
from ptupcdr_core.training.task import BridgeTask

OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after every epoch with its number (0 is the start) and its metrics."""


def validation_errors(task: BridgeTask, embed: Callable[[Index], Floats]) -> RatingErrors:
    """Errors on the validation users' target ratings.

    Args:
        task: the pair's bridge training.
        embed: gives (R, Y) embeddings for (R,) user indices.
    """
    users, rows = np.unique(task.validation.users, return_inverse=True)
    scores = task.target.score(embed(users), rows, task.validation.items)
    return rating_errors(scores, task.validation, task.scale)


class BestEpoch:
    """Remembers the weights of the epoch with the lowest validation RMSE."""

    def __init__(self) -> None:
        """Start without any epoch."""
        self.epoch = -1
        self.rmse = float("inf")
        self.weights: Any = None

    def offer(self, epoch: int, rmse: float, weights: Callable[[], Any]) -> None:
        """Keep ``weights()``, which must be a copy, if this epoch is better than all before."""
        if rmse < self.rmse:
            self.epoch, self.rmse, self.weights = epoch, rmse, weights()
