"""Bridges trained on a device by gradient steps: the meta network and EMCDR's mapping (``training.gradient``).

Shapes: N rows, B batch, U users, L history length, D embedding size, X by Y the bridge.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptupcdr_core.arrays import Floats
from ptupcdr_core.engines.torch_adam import MinibatchAdam, on_device, on_host
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.models.meta import MetaNetwork


class MetaNetworkOnDevice:
    """A meta network in training on a device, with its rows and the tables that they index.

    A user with several ratings in a batch is computed once for each: to find the distinct users, the host would have to
    wait for their number.

    Args:
        network: where training starts; not changed.
        rows: every user has a history.
        learning_rate: Adam's.
        penalty: weight of |W|² in the mean over a batch's rows, W being the row's bridge.
        device: of all tensors.
    """

    def __init__(
        self, network: MetaNetwork, rows: Rows, learning_rate: float, penalty: float, device: torch.device
    ) -> None:
        """Copy network and rows to the device and set the moments to zero."""
        self._network, self.penalty = copy.deepcopy(network).to(device), penalty
        self.histories, self.stars = on_device(rows.histories, device), on_device(rows.stars, device)
        self.history_vectors = on_device(rows.history_vectors, device)
        self.source_vectors = on_device(rows.source_vectors, device)
        self.item_vectors = on_device(rows.item_vectors, device)
        columns = [on_device(column, device) for column in (rows.users, rows.pick, rows.wanted)]
        self.adam = MinibatchAdam(self._network.parameters(), self._losses, columns, learning_rate)

    def epoch(self, order: NDArray[np.int64], batch_size: int) -> float:
        """Pass once over the rows, as ``MinibatchAdam.epoch``; return the mean loss."""
        return self.adam.epoch(order, batch_size)

    def model(self) -> MetaNetwork:
        """Return a network on the host with a copy of the present weights."""
        return copy.deepcopy(self._network).cpu()

    def _losses(self, users: Tensor, pick: Tensor, wanted: Tensor) -> Tensor:
        """(B,) squared errors, and the penalties of the bridges."""
        items = self.histories.index_select(0, users)
        vectors = self.history_vectors.index_select(0, items.flatten()).view(*items.shape, -1)
        written = self._network.outputs(vectors, items > 0, self.stars.index_select(0, users))
        bridged = self._network.form.apply(self.source_vectors.index_select(0, users), written)
        losses = ((bridged * self.item_vectors.index_select(0, pick)).sum(1) - wanted).square()
        return losses + self.penalty * self._network.form.squares(written) if self.penalty else losses


class MappingOnDevice:
    """A common matrix in training on a device.

    Args:
        matrix: (X, Y) float32 where training starts; not changed.
        source: (N, X) float32.
        wanted: (N, Y) float32, what the matrix should map the source vectors to.
        learning_rate: Adam's.
        device: of all tensors.
    """

    def __init__(
        self, matrix: Floats, source: Floats, wanted: Floats, learning_rate: float, device: torch.device
    ) -> None:
        """Copy everything to the device and set the moments to zero."""
        self._matrix = on_device(matrix, device).requires_grad_()
        columns = [on_device(column, device) for column in (source, wanted)]
        self.adam = MinibatchAdam([self._matrix], self._losses, columns, learning_rate)

    def epoch(self, order: NDArray[np.int64], batch_size: int) -> float:
        """Pass once over the users, as ``MinibatchAdam.epoch``; return the mean squared error."""
        return self.adam.epoch(order, batch_size)

    def model(self) -> Floats:
        """Return a copy of the present matrix."""
        return on_host(self._matrix)

    def _losses(self, source: Tensor, wanted: Tensor) -> Tensor:
        return (source @ self._matrix - wanted).square().mean(1)
