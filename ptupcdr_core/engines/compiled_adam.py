"""Minibatch Adam for the base models, in which a step costs as much as its batch, not as much as the tables.

The numbers are those of dense ``torch.optim.Adam`` on whole embedding tables. There, a row outside the batch still
moves: its gradient is zero, so its moments only decay, and the moves of the skipped steps form a series with a closed
form. A row is therefore left alone until a batch touches it, and all its skipped steps are then applied at once:

    m after k skipped steps = β1ᵏ m,    v = β2ᵏ v,
    sum of the moves        = lr · m/√v · Σ_{i=1..k} qⁱ c_{t+i},    q = β1/√β2,    c_s = √(1-β2ˢ) / (1-β1ˢ)
                            = lr · m/√v · (R[t] - qᵏ R[t+k]),       R[t] = q (c_{t+1} + R[t+1]).

The one deviation: relative to √v, which decays, ε = 1e-8 drifts a little over skipped steps; here it is held constant
in them. The difference is of the size of float32 rounding, which the tests check.

Shapes: N ratings, B batch, D embedding size, U users, I items.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.adam import DNN, GMF, MF, Reordered, reorder, skipped_steps, tables, train, workspace
from ptupcdr_core.kernels.csr import require_rows
from ptupcdr_core.kernels.vectors import LINE, aligned_zeros, constant
from ptupcdr_core.models.base import BaseModel, BaseModelKind

KINDS: dict[BaseModelKind, int] = {"mf": MF, "gmf": GMF, "dnn": DNN}


@dataclass
class RowAdam:
    """A base model in training: parameters and both moments of Adam, side by side in memory.

    A table row is [parameters D | first moment D | second moment D | padding | last step | gradient slot], the last
    two integers, a whole number of cache lines long: touching a row needs one place in memory instead of five.

    Args:
        kind: mf, gmf or dnn.
        size: D.
        user_rows: (U+1, ...) float32.
        item_rows: (I+1, ...) float32.
        layer: the linear layer's rows: its weight, then its bias; none for mf.
        steps: steps made so far.
    """

    kind: BaseModelKind
    size: int
    user_rows: Floats
    item_rows: Floats
    layer: Floats
    steps: int = field(default=0)

    @classmethod
    def start(cls, model: BaseModel) -> Self:
        """Copy a model's parameters and set the moments to zero."""
        linear = [np.atleast_2d(tensor) for tensor in (model.weight, model.bias) if tensor is not None]
        layer = np.vstack(linear) if linear else np.zeros((0, model.size), np.float32)
        return cls(model.kind, model.size, _rows(model.user_embedding), _rows(model.item_embedding), _rows(layer))

    def model(self) -> BaseModel:
        """Return a copy of the present parameters."""
        users, items, layer = (rows[:, : self.size].copy() for rows in (self.user_rows, self.item_rows, self.layer))
        if self.kind == "mf":
            return BaseModel(self.kind, users, items)
        if self.kind == "gmf":
            return BaseModel(self.kind, users, items, layer[0])
        return BaseModel(self.kind, users, items, layer[:-1], layer[-1])


def train_epoch(
    state: RowAdam,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    ratings: Floats,
    batch_size: int,
    learning_rate: float,
) -> float:
    """Pass once over the ratings, in their order, in minibatches, and leave every row of ``state`` up to date.

    Args:
        state: changed in place.
        users: (N,) int32 in 1..U.
        items: (N,) int32 in 1..I.
        ratings: (N,) float32.
        batch_size: B; the last batch may be smaller.
        learning_rate: Adam's step size; may differ from epoch to epoch.

    Returns:
        The mean squared error of all predictions, each made before its batch's step.

    Raises:
        ValueError: when there is no rating, or a user or item is outside its table.
    """
    if not len(ratings):
        raise ValueError("an epoch needs at least one rating")
    require_rows("users", users, len(state.user_rows))
    require_rows("items", items, len(state.item_rows))
    steps = -(-len(ratings) // batch_size)
    squared_error: float = train(
        KINDS[state.kind],
        constant(state.size),
        tables(state.user_rows, state.item_rows, state.layer),
        Reordered(users, items, ratings),
        batch_size,
        learning_rate,
        skipped_steps(state.steps, steps),
        workspace(batch_size, state.size, len(state.layer)),
    )
    state.steps += steps
    return squared_error / len(ratings)


def shuffled(
    users: NDArray[np.int32], items: NDArray[np.int32], ratings: Floats, generator: np.random.Generator
) -> Reordered:
    """The ratings in random order, the same as that of ``generator.permutation(N)``.

    A shuffle waits for memory as training does, and takes as long; int32 instead of int64 makes it a third shorter.
    """
    order = generator.permutation(np.arange(len(ratings), dtype=np.int32))
    reordered = Reordered(np.empty_like(users), np.empty_like(items), np.empty_like(ratings))
    reorder(order, users[None], items[None], ratings[None], reordered)
    return reordered


def _rows(embedding: Floats) -> Floats:
    """Make a table in the form of ``RowAdam``, starting on a cache line."""
    count, size = embedding.shape
    rows = aligned_zeros(count, -(-(3 * size + 2) // LINE) * LINE)
    rows[:, :size] = embedding
    return rows
