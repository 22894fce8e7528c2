"""Bridges in training by minibatch Adam on the processor: a meta network by a compiled loop, a mapping in numpy.

Shapes: N rows, U users, L history length, D embedding size, H hidden units, X by Y the bridge.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.adam import BETA1, BETA2, EPSILON
from ptupcdr_core.kernels.meta_network import DIAGONAL, FULL, LOW_RANK, Plan, Rows, State, Weights, train, workspace
from ptupcdr_core.models.forms import BridgeForm
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.settings import Attention

TORCH_NAMES = {
    "attention": "attention_hidden.weight",
    "attention_bias": "attention_hidden.bias",
    "importance": "attention_out.weight",
    "hidden": "decoder_hidden.weight",
    "hidden_bias": "decoder_hidden.bias",
    "out": "decoder_out.weight",
    "out_bias": "decoder_out.bias",
    "signal": "attention_signal",
}
TURNED = ("hidden", "out")
"""Weights that are stored input by output here, output by input in torch."""
FORMS = {"full": FULL, "low_rank": LOW_RANK, "diagonal": DIAGONAL}


@dataclass
class MetaAdam:
    """A meta network in training, with its rows.

    Args:
        form: of the bridges.
        attention_kind: what attention depends on.
        state: weights, gradients and both moments of Adam; changed by every epoch.
        rows: every user has a history; indices are not checked.
        signals: (U+1, L) ``MetaNetwork.signal`` of each position; (0, 0) without signals.
        steps: steps made so far.
    """

    form: BridgeForm
    attention_kind: Attention
    state: State
    rows: Rows
    signals: Floats
    steps: int = field(default=0)

    @classmethod
    def start(cls, network: MetaNetwork, rows: Rows) -> Self:
        """Copy a network's weights and set the moments to zero."""
        named = {"attention_signal": torch.empty(0), **network.state_dict()}
        weights = Weights(**{ours: _ours(ours, named[theirs].numpy()) for ours, theirs in TORCH_NAMES.items()})
        zeros = (Weights(*(np.zeros_like(array) for array in weights)) for _ in range(3))
        return cls(network.form, network.attention_kind, State(weights, *zeros), rows, _signals(network, rows))

    def network(self) -> MetaNetwork:
        """Return a network with a copy of the present weights."""
        weights = self.state.weights
        size, hidden = weights.hidden.shape
        network = MetaNetwork(
            size,
            hidden,
            self.form.source_size,
            self.form.target_size,
            form=self.form.name,
            rank=self.form.rank,
            attention=self.attention_kind,
        )
        own = network.state_dict()
        network.load_state_dict(
            {
                theirs: torch.from_numpy(_theirs(ours, getattr(weights, ours))).reshape(own[theirs].shape)
                for ours, theirs in TORCH_NAMES.items()
                if theirs in own
            }
        )
        return network

    def epoch(self, order: NDArray[np.int64], batch_size: int, learning_rate: float, penalty: float = 0.0) -> float:
        """Pass once over the rows in this order.

        Args:
            order: (N,) int64 row numbers, at least one.
            batch_size: rows a step.
            learning_rate: Adam's.
            penalty: weight of |W|² in the mean over a batch's rows, W being the row's bridge.

        Returns:
            The mean loss of the rows, each before its own batch's step.
        """
        plan = Plan(batch_size, learning_rate, penalty, FORMS[self.form.name], self.form.rank)
        work = workspace(self.state.weights, self.rows, min(batch_size, len(order)), self.form.rank)
        total: float = train(self.state, self.steps, self.rows, self.signals, order, plan, work)
        self.steps += -(-len(order) // batch_size)
        return total / len(order)


def _signals(network: MetaNetwork, rows: Rows) -> Floats:
    if network.attention_signal is None:
        return np.zeros((0, 0), np.float32)
    signals: Floats = network.signal(torch.from_numpy(rows.histories > 0), torch.from_numpy(rows.stars)).numpy()
    return signals


def _ours(name: str, weight: Floats) -> Floats:
    rows = np.atleast_2d(weight)
    return np.array(rows.T if name in TURNED else rows, np.float32, order="C", copy=True)


def _theirs(name: str, weight: Floats) -> Floats:
    return np.array(weight.T if name in TURNED else weight, order="C", copy=True)


class MappingAdam:
    """A common matrix in training, in numpy: with so few numbers, compiling gains nothing.

    Args:
        matrix: (X, Y) float32 where training starts; not changed.
        source: (N, X) float32.
        wanted: (N, Y) float32.
    """

    def __init__(self, matrix: Floats, source: Floats, wanted: Floats) -> None:
        """Copy the matrix and set the moments to zero."""
        self.matrix, self.source, self.wanted = matrix.copy(), source, wanted
        self.moments, self.step = np.zeros((2, *matrix.shape), np.float32), 0

    def epoch(self, order: NDArray[np.int64], batch_size: int, learning_rate: float) -> float:
        """Pass once over the users in this order; return the mean squared error, before each batch's step."""
        total = 0.0
        for rows in np.split(order, range(batch_size, len(order), batch_size)):
            source = self.source[rows]
            residuals = source @ self.matrix - self.wanted[rows]
            total += float(np.square(residuals).mean()) * len(rows)
            self.step += 1
            scale = np.float32(2 / residuals.size)
            _adam_step(self.matrix, self.moments, source.T @ residuals * scale, self.step, learning_rate)
        return total / len(order)


def _adam_step(matrix: Floats, moments: Floats, gradient: Floats, step: int, learning_rate: float) -> None:
    """One step of Adam with torch's numbers; written out because torch.optim takes seconds to import its compiler."""
    for moment, beta, towards in zip(moments, (BETA1, BETA2), (gradient, np.square(gradient)), strict=True):
        moment += (1 - beta) * (towards - moment)
    mean, square = (moment / (1 - beta**step) for moment, beta in zip(moments, (BETA1, BETA2), strict=True))
    matrix -= learning_rate * mean / (np.sqrt(square) + EPSILON)
