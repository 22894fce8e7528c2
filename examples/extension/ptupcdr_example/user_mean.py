"""A method of one's own: a user rates every target item as high as their source items on average."""

from collections.abc import Iterator
from typing import get_args

import numpy as np

from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.settings import Recipe
from ptupcdr_core.training.epochs import Epoch


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """One candidate: every item's score is the user's mean source rating, or the mean target rating without any."""
    data = experiment.data
    totals = np.bincount(data.source.users, data.source.stars, data.user_count + 1)
    counts = np.bincount(data.source.users, minlength=data.user_count + 1)
    overall = data.target_train.stars.mean(dtype=np.float64)
    means = np.where(counts > 0, totals / np.maximum(counts, 1), overall).astype(np.float32)
    items = data.target_item_count + 1
    target = TargetItems(np.ones((items, 1), np.float32), np.zeros(items, np.float32))
    yield Epoch(0, FittedMethod("user_mean", target, lambda users: means[users, None]), {})


METHODS = (Method("user_mean", fit, Needs.RATINGS, get_args(Recipe)),)
