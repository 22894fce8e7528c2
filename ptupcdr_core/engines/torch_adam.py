"""Minibatch Adam in torch, with the rows, the order of an epoch and the loss on the device.

A step starts its kernels and does not wait for them: nothing is read back before an epoch ends. Every step moves all
parameters, which a GPU does at once; the numbers are those of ``compiled_adam`` and ``compiled_bridges``, which do
the same work row by row on a processor. On a GPU sums over an index are made in no fixed order, so that the last bits
differ from run to run.

Shapes: N rows, B batch, D embedding size, U users, I items.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.csr import require_rows
from ptupcdr_core.models.base import BaseModel


class MinibatchAdam:
    """Adam on the mean loss of minibatches.

    Args:
        parameters: on the device, changed in place by every step.
        losses: (B,) loss of each row of a batch, from the batch's part of every column.
        columns: tensors of N rows on the device.
        learning_rate: Adam's.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        losses: Callable[..., Tensor],
        columns: Sequence[Tensor],
        learning_rate: float,
    ) -> None:
        """Set the moments to zero."""
        # Fused: one kernel for all parameters, and the number of steps is on the device too.
        self.optimizer = torch.optim.Adam(parameters, lr=learning_rate, fused=True)
        self.losses, self.columns = losses, columns

    def epoch(self, order: NDArray[np.int64], batch_size: int) -> float:
        """Pass once over the rows in this order.

        Args:
            order: (N,) row numbers, at least one; uploaded at once.
            batch_size: B; the last batch may be smaller.

        Returns:
            The mean loss of the rows, each before its own batch's step.
        """
        return self.steps(on_device(order, self.columns[0].device), batch_size).item() / len(order)

    def steps(self, order: Tensor, batch_size: int) -> Tensor:
        """The steps of ``epoch``; return () float64, the sum of the losses, without waiting for it."""
        total = torch.zeros((), dtype=torch.float64, device=order.device)
        shuffled = [column.index_select(0, order) for column in self.columns]
        for start in range(0, len(order), batch_size):
            losses = self.losses(*(column[start : start + batch_size] for column in shuffled))
            self.optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += losses.detach().sum(dtype=torch.float64)
        return total


class BaseModelOnDevice:
    """A base model in training on a device, with its ratings.

    Args:
        model: where training starts; not changed.
        ratings: at least one.
        learning_rate: Adam's.
        device: of all tensors.

    Raises:
        ValueError: a user or item is outside the model's tables.
    """

    def __init__(self, model: BaseModel, ratings: Ratings, learning_rate: float, device: torch.device) -> None:
        """Copy parameters and ratings to the device and set the moments to zero."""
        require_rows("users", ratings.users, len(model.user_embedding))
        require_rows("items", ratings.items, len(model.item_embedding))
        self.kind = model.kind
        self.parameters = {name: on_device(value, device).requires_grad_() for name, value in model.tensors().items()}
        columns = [on_device(column, device) for column in (ratings.users, ratings.items, ratings.stars)]
        self.adam = MinibatchAdam(self.parameters.values(), self._losses, columns, learning_rate)

    def epoch(self, order: NDArray[np.int64], batch_size: int) -> float:
        """Pass once over the ratings, as ``MinibatchAdam.epoch``; return the mean squared error."""
        return self.adam.epoch(order, batch_size)

    def model(self) -> BaseModel:
        """Return a copy of the present parameters."""
        return BaseModel.from_tensors(self.kind, {name: on_host(value) for name, value in self.parameters.items()})

    def _losses(self, users: Tensor, items: Tensor, stars: Tensor) -> Tensor:
        """(B,) squared errors of the scores that ``BaseModel`` describes."""
        # index_select, not [...]: its gradient is added in place, while that of indexing sorts the indices first.
        u = self.parameters["user_embedding"].index_select(0, users)
        v = self.parameters["item_embedding"].index_select(0, items)
        if self.kind == "gmf":
            v = v * self.parameters["weight"]
        elif self.kind == "dnn":
            u = torch.nn.functional.linear(u, self.parameters["weight"], self.parameters["bias"])
        return ((u * v).sum(1) - stars).square()


def on_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """A copy on the device; also a copy if the device is the processor, so that nobody else changes it."""
    return torch.tensor(array, device=device)


def on_host(tensor: Tensor) -> NDArray[np.float32]:
    """A copy in numpy; waits for what is still to be computed."""
    return np.array(tensor.detach().cpu().numpy(), np.float32)
