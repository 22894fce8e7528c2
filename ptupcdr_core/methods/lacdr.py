"""LACDR: source and target user factors aligned in a smaller space.

Wang et al., "Low-dimensional Alignment for Cross-Domain Recommendation" (CIKM 2021): an encoder E and a decoder F a
domain, trained at once for reconstruction on every user of a domain and for alignment on the shared ones,

    Σ_source |F_s(E_s(u^s)) - u^s| + Σ_target |F_t(E_t(u^t)) - u^t| + λ Σ_shared |E_s(u^s) - E_t(u^t)|,

and a cold-start user's embedding is F_t(E_s(u^s)). As in DiffCDR's comparison (arXiv 2402.02182), encoders and decoders
are linear without bias, the code has 4 coordinates for D = 10 (two fifths of D), λ = 2, and distances are not squared.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.layers import seeded
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.gradient import module_epochs

ALIGNMENT = 2.0
"""λ, as in DiffCDR's comparison."""
TINY = 1e-12
"""Added under the root of a squared distance, whose slope at zero would be infinite."""


class Autoencoders(nn.Module):
    """Both domains' encoders (X to C, Y to C) and decoders (C to X, C to Y)."""

    def __init__(self, source_size: int, target_size: int) -> None:
        """Make the layers, C two fifths of the smaller size."""
        super().__init__()
        code = max(1, 2 * min(source_size, target_size) // 5)
        self.source_encoder = nn.Linear(source_size, code, bias=False)
        self.source_decoder = nn.Linear(code, source_size, bias=False)
        self.target_encoder = nn.Linear(target_size, code, bias=False)
        self.target_decoder = nn.Linear(code, target_size, bias=False)

    def loss(self, source: Tensor, target: Tensor, in_source: Tensor, in_target: Tensor) -> Tensor:
        """The mean over users of the objective above.

        Args:
            source: (B, X) source user factors.
            target: (B, Y) target user factors.
            in_source: (B,) 1 for users with source ratings, else 0.
            in_target: (B,) 1 for users with target training ratings, else 0.
        """
        code_s, code_t = self.source_encoder(source), self.target_encoder(target)
        rebuilt_s = _distance(self.source_decoder(code_s), source)
        rebuilt_t = _distance(self.target_decoder(code_t), target)
        aligned = _distance(code_s, code_t)
        return (in_source * rebuilt_s + in_target * rebuilt_t + ALIGNMENT * in_source * in_target * aligned).mean()

    def bridge(self, source: Floats) -> Floats:
        """(R, Y): through the source encoder and the target decoder."""
        with torch.inference_mode():
            embeddings: Floats = self.target_decoder(self.source_encoder(torch.from_numpy(source))).numpy()
        return embeddings


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """Train both autoencoders on all users and offer them after every epoch."""
    task, settings = experiment.task, experiment.settings
    users, *given = _users(experiment.data)
    in_source, in_target = (torch.from_numpy(mask.astype(np.float32)) for mask in given)
    source, target = (torch.from_numpy(side[users]) for side in (task.source_vectors, task.target_user_vectors))
    model = seeded(Autoencoders(*task.prior.shape), settings.seed)

    def fitted(trained: Autoencoders) -> FittedMethod:
        return FittedMethod("lacdr", task.target, lambda wanted: trained.bridge(task.source_vectors[wanted]))

    for epoch in module_epochs(
        model,
        lambda rows: model.loss(source[rows], target[rows], in_source[rows], in_target[rows]),
        len(users),
        epochs=settings.epochs,
        batch_size=settings.mapping_batch_size,
        learning_rate=settings.learning_rate,
        rng=experiment.generator("lacdr"),
    ):
        yield epoch.map(fitted)


def _users(data: PairData) -> tuple[Index, np.ndarray, np.ndarray]:
    """Everybody with a training rating, and whether they have one in the source and one in the target."""
    in_source, in_target = (np.zeros(data.user_count + 1, bool) for _ in range(2))
    in_source[data.source.users] = True
    in_target[data.target_train.users] = True
    users = np.flatnonzero(in_source | in_target).astype(np.int32)
    return users, in_source[users], in_target[users]


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b).square().sum(-1) + TINY).sqrt()


METHODS = (Method("lacdr", fit),)
