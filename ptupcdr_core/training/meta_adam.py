"""Training a meta network by minibatch Adam: a torch module in, its compiled training, torch modules out.

Shapes: D embedding size, H hidden units, X by Y the bridge.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
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
"""Stored input by output here, output by input in torch."""
FORMS = {"full": FULL, "low_rank": LOW_RANK, "diagonal": DIAGONAL}


@dataclass
class MetaAdam:
    """A meta network in training: weights, gradients and both moments of Adam.

    Args:
        form: of the bridges.
        attention_kind: what attention looks at.
        weights: changed by every epoch, as are the others.
        gradients: zeros between epochs.
        first: first moments.
        second: second moments.
        steps: made so far.
    """

    form: BridgeForm
    attention_kind: Attention
    weights: Weights
    gradients: Weights
    first: Weights
    second: Weights
    steps: int = field(default=0)

    @classmethod
    def start(cls, network: MetaNetwork) -> Self:
        """Copy a network's weights and set the moments to zero."""
        state = {"attention_signal": torch.empty(0), **network.state_dict()}
        weights = Weights(**{ours: _ours(ours, state[theirs].numpy()) for ours, theirs in TORCH_NAMES.items()})
        gradients, first, second = (Weights(*(np.zeros_like(array) for array in weights)) for _ in range(3))
        return cls(network.form, network.attention_kind, weights, gradients, first, second)

    def network(self) -> MetaNetwork:
        """Return a network with a copy of the weights as they stand."""
        size, hidden = self.weights.hidden.shape
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
                theirs: torch.from_numpy(_theirs(ours, getattr(self.weights, ours))).reshape(own[theirs].shape)
                for ours, theirs in TORCH_NAMES.items()
                if theirs in own
            }
        )
        return network

    def epoch(
        self, rows: Rows, order: NDArray[np.int64], batch_size: int, learning_rate: float, penalty: float = 0.0
    ) -> float:
        """Pass once over the rows in this order.

        Args:
            rows: every user has a history; indices are not checked.
            order: (N,) int64 row numbers, at least one.
            batch_size: rows a step.
            learning_rate: Adam's.
            penalty: weight of |W|² in the mean over a batch's rows, W being the row's bridge.

        Returns:
            The mean loss of the rows, each before its own batch's step.
        """
        state = State(self.weights, self.gradients, self.first, self.second)
        plan = Plan(batch_size, learning_rate, penalty, FORMS[self.form.name], self.form.rank)
        work = workspace(self.weights, rows, min(batch_size, len(order)), self.form.rank)
        total: float = train(state, self.steps, rows, order, plan, work)
        self.steps += -(-len(order) // batch_size)
        return total / len(order)


def _ours(name: str, weight: Floats) -> Floats:
    rows = np.atleast_2d(weight)
    return np.array(rows.T if name in TURNED else rows, np.float32, order="C", copy=True)


def _theirs(name: str, weight: Floats) -> Floats:
    return np.array(weight.T if name in TURNED else weight, order="C", copy=True)
