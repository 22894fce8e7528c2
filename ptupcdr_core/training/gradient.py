"""Bridges by gradient steps: the meta network (task-oriented) and EMCDR's mapping (mapping-oriented).

Shapes: B batch, L history length, X by Y the bridge.
"""

import copy

import numpy as np
import torch
from torch import Tensor

from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge
from ptupcdr_core.models.meta import MetaNetwork, apply_bridges
from ptupcdr_core.pair_data import Floats
from ptupcdr_core.training.task import BridgeTask
from ptupcdr_core.training.validation import BestEpoch, OnEpoch, validation_errors


def train_meta_network(
    task: BridgeTask,
    bridge: PersonalBridge,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    penalty: float,
    rng: np.random.Generator,
    on_epoch: OnEpoch,
    start_counts: bool,
    patience: int | None = None,
) -> int:
    """Train a bridge's meta network on the bridge users' ratings; it ends with the best epoch's weights.

    The loss is task-oriented: mean (t - û · v)² over rating rows (the paper's equation of the task-oriented
    optimization), plus penalty / N · |W|² for a row's personal matrix, so that a user's correction must be earned.

    Args:
        task: the frozen vectors and rows; rows of users without a history are left out.
        bridge: holds the network, which is changed in place, and the common part that its output is added to.
        epochs: passes over the rows.
        batch_size: B.
        learning_rate: Adam's.
        penalty: ≥ 0; 0 as published.
        rng: shuffles the rows.
        on_epoch: told the training loss and validation errors of every epoch.
        start_counts: whether the weights before the first step may be chosen too.
        patience: stop after this many epochs without a better one; None: never.

    Returns:
        The chosen epoch; 0 is the start.
    """
    network = bridge.network
    told = np.flatnonzero(task.has_history(task.rows.users))
    users, pick = task.rows.users[told], task.rows.pick[told]
    base = np.einsum("ny,ny->n", (task.source_vectors @ bridge.common)[users], task.rows.vectors[pick])
    wanted = torch.from_numpy(task.rows.wanted[told] - base)
    source, items = torch.from_numpy(task.source_vectors), torch.from_numpy(task.rows.vectors)
    history_vectors, histories = torch.from_numpy(task.history_vectors), torch.from_numpy(task.histories)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    best = BestEpoch()

    def check(epoch: int, metrics: dict[str, float]) -> None:
        errors = validation_errors(task, lambda chosen: bridge.embed(task, chosen))
        on_epoch(epoch, {**metrics, "validation_mae": errors.mae, "validation_rmse": errors.rmse})
        best.offer(epoch, errors.rmse, lambda: copy.deepcopy(network.state_dict()))

    if start_counts:
        check(0, {})
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(told))
        total = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            loss = _task_oriented_loss(
                network, history_vectors[h := histories[users[rows]]], h > 0, source[users[rows]], items[pick[rows]],
                wanted[rows], penalty / max(len(told), 1),
            )  # fmt: skip
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(rows)
        check(epoch, {"training_loss": total / len(order)})
        if patience is not None and epoch - best.epoch >= patience:
            break
    network.load_state_dict(best.weights)
    return best.epoch


def _task_oriented_loss(
    network: MetaNetwork, history: Tensor, mask: Tensor, users: Tensor, items: Tensor, wanted: Tensor, weight: float
) -> Tensor:
    bridges = network(history, mask)
    scores = (apply_bridges(users, bridges) * items).sum(1)
    loss = (wanted - scores).square().mean()
    return loss + weight * bridges.square().sum((1, 2)).mean() if weight else loss


def train_mapping(
    task: BridgeTask,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    rng: np.random.Generator,
    on_epoch: OnEpoch,
) -> tuple[CommonBridge, int]:
    """Train EMCDR's linear mapping: mean (u^s W - u^t)² over bridge users (Man et al., IJCAI 2017), by Adam.

    Args:
        task: gives both sides' user vectors.
        epochs: passes over the bridge users.
        batch_size: users a step.
        learning_rate: Adam's.
        seed: of torch's default initial weights.
        rng: shuffles the users.
        on_epoch: told the training loss and validation errors of every epoch.

    Returns:
        The bridge of the best epoch, and that epoch.
    """
    source = torch.from_numpy(task.source_vectors[task.bridge_users])
    wanted = torch.from_numpy(task.target_user_vectors[task.bridge_users])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mapping = torch.nn.Linear(source.shape[1], wanted.shape[1], bias=False)
    optimizer = torch.optim.Adam(mapping.parameters(), lr=learning_rate)
    best = BestEpoch()
    for epoch in range(1, epochs + 1):
        total = 0.0
        order = rng.permutation(len(source))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            loss = (mapping(source[rows]) - wanted[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        bridge = CommonBridge(_matrix(mapping))
        errors = validation_errors(task, lambda chosen, bridge=bridge: bridge.embed(task, chosen))  # type: ignore[misc]
        metrics = {"training_loss": total / len(order), "validation_mae": errors.mae, "validation_rmse": errors.rmse}
        on_epoch(epoch, metrics)
        best.offer(epoch, errors.rmse, lambda bridge=bridge: bridge)  # type: ignore[misc]
    return best.weights, best.epoch


def _matrix(mapping: torch.nn.Linear) -> Floats:
    weights: Floats = mapping.weight.detach().numpy().T.copy()
    return weights
