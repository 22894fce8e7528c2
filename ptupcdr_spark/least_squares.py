"""Alternating least squares in blocks: the core's compiled half step, a block of rows a task.

Every iteration is written to disk, so that it is not computed again after a restart. The numbers are those of
``training.als``, except for the order of float64 sums in the Gram matrix, and the rounding of matrix products,
which may depend on the number of rows.

Shapes: D embedding size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numba
import numpy as np
import pyarrow as pa

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.kernels.least_squares import padded, upper_gram
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.kernels.whitened import solve_whitened
from ptupcdr_core.training.als import initial_vectors
from ptupcdr_spark.blocks import Make, Sent, Side
from ptupcdr_spark.steps import Cut, Doubles, State, Steps, state_row

OnIteration = Callable[[int, float, float], None]
"""Called with the number of an iteration, and the means of p · q and of (r - p · q)² over a sample of the ratings."""


@dataclass(frozen=True)
class Sides:
    """One domain's ratings by their users and by their items.

    Args:
        users: by user.
        items: by item.
    """

    users: Side
    items: Side

    def free(self, *, links: bool) -> None:
        """See ``Side``."""
        self.users.free(links=links)
        self.items.free(links=links)


@dataclass(frozen=True)
class LeastSquares:
    """What is minimized; see ``training.als.als``, unweighted.

    Args:
        size: D.
        regularization: λ of users and items.
        iterations: each solves all users, then all items.
        seed: fixes the initial item vectors.
        unobserved_weight: α ≥ 0.
        users_last: solve all users once more at the end.
        ones: whether every rating counts as 1, whatever its value.
    """

    size: int
    regularization: float
    iterations: int
    seed: int
    unobserved_weight: float
    users_last: bool
    ones: bool = False

    def factorize(
        self, steps: Steps, name: str, sides: Sides, sampled: int, on_iteration: OnIteration
    ) -> tuple[State, State]:
        """The users' and the items' vectors, float32.

        Args:
            steps: keeps them.
            name: of the calculation.
            sides: the ratings; their values are the residuals.
            sampled: every how many-th rating is in the sample.
            on_iteration: see ``OnIteration``.
        """
        items = steps.start(f"{name}-items-00", lambda: self._initial(sides.items.cut))
        users: State | None = None
        for iteration in range(1, self.iterations + 1):
            before = users, items
            users = self._solved(steps, f"{name}-users-{iteration:02}", sides.users, items, sampled)
            items = self._solved(steps, f"{name}-items-{iteration:02}", sides.items, users, sampled)
            for old in before:
                if old is not None:
                    steps.drop(old)
            products, errors, count = items.told[-3:]
            on_iteration(iteration, products / count, errors / count)
        if self.users_last or users is None:
            users = self._solved(steps, f"{name}-users-last", sides.users, items, sampled)
        return users, items

    def _initial(self, cut: Cut) -> Iterator[pa.Table]:
        """Drawn in the driver, a block at a time, in the same order as on one machine."""
        drawn = initial_vectors(cut.count + 1, self.size, self.seed, block=cut.rows)
        return (state_row(block, vectors, self._told(vectors)) for block, vectors in enumerate(drawn))

    def _solved(self, steps: Steps, name: str, side: Side, other: State, sampled: int) -> State:
        upper = other.told[: self.size**2].reshape(self.size, self.size)
        gram = upper + np.triu(upper, 1).T
        constant = self.unobserved_weight * gram + self.regularization * np.eye(self.size)
        sent = Sent(other, vectors_of(self.size), self.size)
        return steps.step(name, lambda: side.step(self._half_step(constant, sampled), sent))

    def _half_step(self, constant: Doubles, sampled: int) -> Make:
        def make(rows: Csr, others: Floats, _: bytes) -> tuple[Floats, Doubles]:
            numba.set_num_threads(1)  # Spark gives a core a task
            rows = rows._replace(values=np.ones_like(rows.values)) if self.ones else rows
            solved = padded(np.zeros((len(rows.offsets) - 1, self.size), np.float32))
            solve_whitened(rows, padded(others), constant, solved, self.size)
            vectors = solved[:, : self.size].copy()
            return vectors, np.append(self._told(vectors), _fit(rows, vectors, others, sampled))

        return make

    def _told(self, vectors: Floats) -> Doubles:
        with one_thread():
            return upper_gram(vectors).ravel()


def vectors_of(size: int) -> Callable[[bytes], Floats]:
    """Reads float32 vectors of so many coordinates."""
    return lambda numbers: np.frombuffer(numbers, np.float32).reshape(-1, size)


def _fit(rows: Csr, vectors: Floats, others: Floats, sampled: int) -> Doubles:
    """Sums of p · q and (r - p · q)² over every ``sampled``-th rating of a block, and their number."""
    places = np.arange(0, len(rows.columns), sampled)
    row = np.searchsorted(rows.offsets, places, side="right") - 1
    products = np.einsum("nd,nd->n", vectors[row], others[rows.columns[places]]).astype(np.float64)
    return np.array([products.sum(), np.square(rows.values[places] - products).sum(), len(places)])
