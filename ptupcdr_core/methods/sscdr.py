"""SSCDR: a map trained on shared users, and on the mapped vectors of items that they chose.

Kang et al., "Semi-Supervised Learning for Cross-Domain Recommendation to Cold-Start Users" (CIKM 2019). Shared users
are the labelled data, all source items the unlabelled: a mapped item that a user interacted with should lie closer to
the user's target vector than one that they did not,

    Σ |f(u^s_i) - u^t_i|² + λ Σ max(0, m + |f(v^s_j) - u^t_i|² - |f(v^s_k) - u^t_i|²),   j chosen by i, k not,

and a cold-start user is mapped from an average over neighbours of several hops.

As in DiffCDR's comparison (arXiv 2402.02182): λ = m = 1, f is linear with a bias, and the base models are the common
ones (dot products) instead of the paper's metric learning. In such models users and items do not share a space, so the
average is over users alone: the user, and those two hops away (raters of the same source items).
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.layers import seeded
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.gradient import module_epochs

WEIGHT = 1.0
MARGIN = 1.0
"""λ and m, as in DiffCDR's comparison."""


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """Train the map and offer it after every epoch."""
    task, settings, data = experiment.task, experiment.settings, experiment.data
    users, items = task.bridge_users, torch.from_numpy(task.history_vectors)
    source, wanted = (torch.from_numpy(side[users]) for side in (task.source_vectors, task.target_user_vectors))
    mapping = seeded(nn.Linear(source.shape[1], wanted.shape[1]), settings.seed)
    sampler = _Sampler(data, experiment.generator("sscdr items"))
    averaged = torch.from_numpy(neighbourhoods(data, task.source_vectors))

    def loss(rows: Tensor) -> Tensor:
        chosen, other = sampler(users[rows.numpy()])
        supervised = (mapping(source[rows]) - wanted[rows]).square().sum(-1)
        near, far = ((mapping(items[which]) - wanted[rows]).square().sum(-1) for which in (chosen, other))
        total: Tensor = supervised + WEIGHT * torch.relu(MARGIN + near - far)
        return total.mean()

    def fitted(trained: nn.Linear) -> FittedMethod:
        with torch.inference_mode():
            mapped: Floats = trained(averaged).numpy()
        return FittedMethod("sscdr", task.target, lambda wanted: mapped[wanted])

    for epoch in module_epochs(
        mapping,
        loss,
        len(users),
        epochs=settings.epochs,
        batch_size=settings.mapping_batch_size,
        learning_rate=settings.learning_rate,
        rng=experiment.generator("sscdr"),
    ):
        yield epoch.map(fitted)


def neighbourhoods(data: PairData, vectors: Floats) -> Floats:
    """(U+1, X) the mean of each user's vector and of those two hops away; zeros for users without source ratings.

    The second hop is the mean over the user's source items of the mean over each item's raters.
    """
    to_items = _means(data.source.items, data.source.users, (data.source_item_count + 1, data.user_count + 1))
    to_users = _means(data.source.users, data.source.items, (data.user_count + 1, data.source_item_count + 1))
    averaged: Floats = ((to_users @ (to_items @ vectors) + vectors) / 2).astype(np.float32)
    averaged[np.bincount(data.source.users, minlength=data.user_count + 1) == 0] = 0
    return averaged


def _means(rows: Index, columns: Index, shape: tuple[int, int]) -> csr_array:
    """A matrix that averages over each row's columns."""
    share = 1 / np.bincount(rows, minlength=shape[0])[rows].astype(np.float32)
    return csr_array((share, (rows, columns)), shape=shape)


class _Sampler:
    """Draws, for each user, a source item that they rated and one that they did not."""

    def __init__(self, data: PairData, rng: np.random.Generator) -> None:
        source = data.source
        self.rated = compress(source.users, source.items, source.stars, data.user_count)
        self.count, self.rng = data.source_item_count, rng
        self.couples = np.sort(self._couples(source.users, source.items))

    def __call__(self, users: Index) -> tuple[Tensor, Tensor]:
        begin, end = self.rated.offsets[users], self.rated.offsets[users + 1]
        chosen = self.rated.columns[begin + self.rng.integers(0, end - begin)]
        other = self._any(len(users))
        # Draw once more where the first was a rated item; a rated one after that is rare, and does little harm.
        again = self._is_rated(users, other)
        other[again] = self._any(int(again.sum()))
        return torch.from_numpy(chosen), torch.from_numpy(other)

    def _any(self, size: int) -> Index:
        return self.rng.integers(1, self.count + 1, size, dtype=np.int32)

    def _is_rated(self, users: Index, items: Index) -> NDArray[np.bool_]:
        wanted = self._couples(users, items)
        place = np.minimum(np.searchsorted(self.couples, wanted), len(self.couples) - 1)
        return np.asarray(self.couples[place] == wanted)

    def _couples(self, users: Index, items: Index) -> NDArray[np.int64]:
        return users.astype(np.int64) * (self.count + 1) + items


METHODS = (Method("sscdr", fit),)
