"""Bridges by gradient steps: the meta network (task-oriented) and a common mapping (mapping-oriented).

The meta network is the slowest part of a benchmark, so ``training.meta_kernels`` trains it in a compiled loop. Seconds
an epoch of 50,000 rating rows of 1,100 users in batches of 128, on one core of an AMD EPYC (torch's autograd in
brackets):

| D | full | low rank 4 | diagonal |
| --- | --- | --- | --- |
| 10 | 0.036 (0.27) | 0.034 (0.28) | 0.030 (0.22) |
| 32 | 0.18 (0.47) | 0.16 (0.37) | 0.16 (0.25) |
| 128 | 1.7 (5.7) | 1.3 (1.4) | 1.3 (1.0) |

Shapes: B batch, L history length, X by Y the bridge.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptupcdr_core.arrays import Floats
from ptupcdr_core.engines.torch_bridges import MappingOnDevice, MetaNetworkOnDevice
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge
from ptupcdr_core.models.layers import AnyModule, seeded
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.meta_adam import MetaAdam
from ptupcdr_core.training.task import BridgeTask

ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8


def meta_network_epochs(
    task: BridgeTask,
    bridge: PersonalBridge,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    penalty: float = 0.0,
    start_counts: bool = False,
    device: torch.device | None = None,
) -> Iterator[Epoch[PersonalBridge]]:
    """Train a bridge's meta network, of any form and attention, on the bridge users' ratings.

    The loss is task-oriented: mean (t - û · v)² over rating rows (the paper's equation of the task-oriented
    optimization), plus penalty / N · |W|² for a row's personal matrix, so that a user's correction must be earned.

    Args:
        task: the frozen vectors and rows; rows of users without a history are left out.
        bridge: where training starts, and the common part that the network's output is added to; stays as it is.
        epochs: passes over the rows.
        batch_size: B.
        learning_rate: Adam's.
        rng: shuffles the rows.
        penalty: ≥ 0; 0 as published.
        start_counts: whether the bridge before the first step is a candidate too, as epoch 0.
        device: where torch trains; None for the compiled loops.

    Yields:
        Every epoch's bridge.
    """
    told = np.flatnonzero(task.has_history(task.rows.users))
    if start_counts or not len(told):
        yield Epoch(0, bridge, {})
    if not len(told):
        return
    users, pick = task.rows.users[told], task.rows.pick[told]
    common = np.einsum("ny,ny->n", (task.source_vectors @ bridge.common)[users], task.rows.vectors[pick])
    rows = Rows(
        users,
        pick,
        np.asarray(task.rows.wanted[told] - common, np.float32),
        task.histories,
        np.ascontiguousarray(task.history_vectors, np.float32),
        np.ascontiguousarray(task.source_vectors, np.float32),
        np.ascontiguousarray(task.rows.vectors, np.float32),
        _signals(bridge.network, task),
    )
    state: MetaAdam | MetaNetworkOnDevice
    epoch: Callable[..., float]
    share = penalty / len(told)
    if device is None:
        state = MetaAdam.start(bridge.network)
        epoch = partial(state.epoch, rows, learning_rate=learning_rate, penalty=share)
    else:
        state = MetaNetworkOnDevice(
            bridge.network, rows, task.history_stars, learning_rate=learning_rate, penalty=share, device=device
        )
        epoch = state.epoch
    for number in range(1, epochs + 1):
        loss = epoch(order=rng.permutation(len(told)), batch_size=batch_size)
        yield Epoch(number, replace(bridge, network=state.network()), {"training_loss": loss})


def _signals(network: MetaNetwork, task: BridgeTask) -> Floats:
    """(U+1, L) what is said of each position beside its item, (0, 0) where nothing."""
    if network.attention_signal is None:
        return np.zeros((0, 0), np.float32)
    signals: Floats = network.signal(torch.from_numpy(task.histories > 0), torch.from_numpy(task.history_stars)).numpy()
    return signals


def mapping_epochs(
    task: BridgeTask,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    rng: np.random.Generator,
    device: torch.device | None = None,
) -> Iterator[Epoch[CommonBridge]]:
    """Train EMCDR's linear mapping: mean (u^s W - u^t)² over bridge users (Man et al., IJCAI 2017), by Adam.

    Args:
        task: gives both sides' user vectors.
        epochs: passes over the bridge users.
        batch_size: users a step.
        learning_rate: Adam's.
        seed: of the initial weights.
        rng: shuffles the users.
        device: where torch trains; None for numpy.

    Yields:
        Every epoch's bridge.
    """
    source, wanted = task.source_vectors[task.bridge_users], task.target_user_vectors[task.bridge_users]
    start = seeded(nn.Linear(source.shape[1], wanted.shape[1], bias=False), seed)
    matrix = start.weight.detach().numpy().T.copy()
    state = (
        _Mapping(matrix, source, wanted, learning_rate)
        if device is None
        else MappingOnDevice(matrix, source, wanted, learning_rate, device)
    )
    for number in range(1, epochs + 1):
        loss = state.epoch(rng.permutation(len(source)), batch_size)
        yield Epoch(number, CommonBridge(state.matrix()), {"training_loss": loss})


class _Mapping:
    """A common matrix in training in numpy; arguments as for ``MappingOnDevice``."""

    def __init__(self, matrix: Floats, source: Floats, wanted: Floats, learning_rate: float) -> None:
        self._matrix, self.source, self.wanted, self.learning_rate = matrix.copy(), source, wanted, learning_rate
        self.moments, self.step = np.zeros((2, *matrix.shape), np.float32), 0

    def epoch(self, order: NDArray[np.int64], batch_size: int) -> float:
        total = 0.0
        for rows in np.split(order, range(batch_size, len(order), batch_size)):
            source = self.source[rows]
            residuals = source @ self._matrix - self.wanted[rows]
            total += float(np.square(residuals).mean()) * len(rows)
            self.step += 1
            scale = np.float32(2 / residuals.size)
            _adam_step(self._matrix, self.moments, source.T @ residuals * scale, self.step, self.learning_rate)
        return total / len(order)

    def matrix(self) -> Floats:
        return self._matrix.copy()


def _adam_step(matrix: Floats, moments: Floats, gradient: Floats, step: int, learning_rate: float) -> None:
    """One step of Adam with torch's numbers; written out because torch.optim takes seconds to import its compiler."""
    for moment, beta, towards in zip(moments, ADAM_BETAS, (gradient, np.square(gradient)), strict=True):
        moment += (1 - beta) * (towards - moment)
    mean, square = (moment / (1 - beta**step) for moment, beta in zip(moments, ADAM_BETAS, strict=True))
    matrix -= learning_rate * mean / (np.sqrt(square) + ADAM_EPSILON)


def module_epochs(
    module: AnyModule,
    loss: Callable[[Tensor], Tensor],
    count: int,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> Iterator[Epoch[AnyModule]]:
    """Train a torch module by Adam on shuffled batches of rows.

    Args:
        module: changed in place.
        loss: of a batch's row numbers (B,), under the module as it stands.
        count: rows there are.
        epochs: passes over them.
        batch_size: B.
        learning_rate: Adam's.
        rng: shuffles the rows.

    Yields:
        A copy of the module after every epoch.
    """
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    for number in range(1, epochs + 1):
        total = 0.0
        with one_thread():
            for rows in np.split(rng.permutation(count), range(batch_size, count, batch_size)):
                value = loss(torch.from_numpy(rows))
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += value.item() * len(rows)
        yield Epoch(number, copy.deepcopy(module), {"training_loss": total / count})
