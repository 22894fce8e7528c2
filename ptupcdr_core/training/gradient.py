"""Bridges by gradient steps: the meta network (task-oriented) and a common mapping (mapping-oriented).

The meta network is the slowest part of a benchmark, so ``kernels.meta_network`` trains it in a compiled loop. Seconds
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

import numpy as np
import torch
from torch import Tensor, nn

from ptupcdr_core.engines.base import Engine, Passes
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge
from ptupcdr_core.models.layers import AnyModule, seeded
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.task import BridgeTask


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
    engine: Engine = COMPILED,
) -> Iterator[Epoch[PersonalBridge]]:
    """Train a bridge's meta network, of any form and attention, on the bridge users' ratings.

    The loss is task-oriented: mean (t - û · v)² over rating rows (the paper's equation of the task-oriented
    optimization), plus penalty / N · |W|² for a row's personal matrix, so that a user's correction has to
    gain something.

    Args:
        task: the frozen vectors and rows; rows of users without a history are left out.
        bridge: where training starts, and the common part that the network's output is added to; it is not changed.
        epochs: passes over the rows.
        batch_size: B.
        learning_rate: Adam's.
        rng: shuffles the rows.
        penalty: ≥ 0; 0 as published.
        start_counts: whether the bridge before the first step is a candidate too, as epoch 0.
        engine: makes the steps.

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
        task.history_stars,
    )
    passes = Passes(epochs, batch_size, learning_rate, rng)
    trained = engine.meta_network(bridge.network, rows, penalty / len(told), passes)
    for number, (loss, network) in enumerate(trained, 1):
        yield Epoch(number, replace(bridge, network=network), {"training_loss": loss})


def mapping_epochs(
    task: BridgeTask,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    rng: np.random.Generator,
    engine: Engine = COMPILED,
) -> Iterator[Epoch[CommonBridge]]:
    """Train EMCDR's linear mapping: mean (u^s W - u^t)² over bridge users (Man et al., IJCAI 2017), by Adam.

    Args:
        task: gives both sides' user vectors.
        epochs: passes over the bridge users.
        batch_size: users a step.
        learning_rate: Adam's.
        seed: of the initial weights.
        rng: shuffles the users.
        engine: makes the steps.

    Yields:
        Every epoch's bridge.
    """
    source, wanted = task.source_vectors[task.bridge_users], task.target_user_vectors[task.bridge_users]
    start = seeded(nn.Linear(source.shape[1], wanted.shape[1], bias=False), seed)
    matrix = start.weight.detach().numpy().T.copy()
    trained = engine.mapping(matrix, source, wanted, Passes(epochs, batch_size, learning_rate, rng))
    for number, (loss, found) in enumerate(trained, 1):
        yield Epoch(number, CommonBridge(found), {"training_loss": loss})


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
        loss: the present module's loss on a batch, from its row numbers (B,).
        count: number of rows.
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
