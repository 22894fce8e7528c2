"""DCDCSR: source factors mapped to benchmark factors, which give the denser domain more weight.

Zhu et al., "A Deep Framework for Cross-Domain and Cross-System Recommendations" (IJCAI 2018, arXiv 2009.06215): for
every shared user a benchmark factor mixes both domains' factors by how densely the user has rated in each,

    b_i = α_i u^s_i + (1 - α_i) u^t_i,    α_i = n^s_i / (n^s_i + n^t_i),

and a fully connected network is trained to map factors to the benchmark's, min Σ |g(u_i) - b_i|².

Deviations, since a cold-start user has no target factor to map: g maps the source factor; users of one domain alone get
no benchmark from similar users. Items are not shared, so theirs are not mapped. Hidden layer 2D, tanh.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.layers import seeded
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.gradient import module_epochs
from ptupcdr_core.training.task import BridgeTask


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """Train the network on the bridge users' benchmark factors and offer it after every epoch."""
    task, settings = experiment.task, experiment.settings
    source = torch.from_numpy(task.source_vectors[task.bridge_users])
    wanted = torch.from_numpy(benchmark_factors(experiment.data, task))
    size = source.shape[1]
    network = seeded(nn.Sequential(nn.Linear(size, 2 * size), nn.Tanh(), nn.Linear(2 * size, size)), settings.seed)

    def fitted(trained: nn.Sequential) -> FittedMethod:
        def embed(users: Index) -> Floats:
            with torch.inference_mode():
                embeddings: Floats = trained(torch.from_numpy(task.source_vectors[users])).numpy()
            return embeddings

        return FittedMethod("dcdcsr", task.target, embed)

    for epoch in module_epochs(
        network,
        lambda rows: (network(source[rows]) - wanted[rows]).square().mean(),
        len(source),
        epochs=settings.epochs,
        batch_size=settings.mapping_batch_size,
        learning_rate=settings.learning_rate,
        rng=experiment.generator("dcdcsr"),
    ):
        yield epoch.map(fitted)


def benchmark_factors(data: PairData, task: BridgeTask) -> Floats:
    """(R, D) b of the bridge users, in their order."""
    users = task.bridge_users
    source, target = (
        np.bincount(ratings.users, minlength=data.user_count + 1)[users].astype(np.float32)
        for ratings in (data.source, data.target_train)
    )
    share = (source / (source + target))[:, None]
    return np.asarray(share * task.source_vectors[users] + (1 - share) * task.target_user_vectors[users], np.float32)


METHODS = (Method("dcdcsr", fit),)
