"""What an engine is: where the heavy training runs.

All engines make the same steps from the same initial values on the same batches, so that results differ by rounding
only. Arguments are not changed; results are copies that later steps do not change.

Shapes: N rows, D embedding size, U users, I items, X by Y a bridge.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.meta import MetaNetwork


class Passes(NamedTuple):
    """How minibatch Adam passes over its rows.

    Args:
        epochs: number of passes.
        batch_size: rows a step; the last batch of an epoch may be smaller.
        learning_rate: Adam's.
        rng: shuffles the rows before every epoch.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    rng: np.random.Generator

    def orders(self, rows: int) -> Iterator[NDArray[np.int64]]:
        """The order of so many rows in every epoch, drawn when it is needed."""
        return (self.rng.permutation(rows) for _ in range(self.epochs))


class LeastSquares(Protocol):
    """Users and items with a vector each; one side's are solved for the other side's present ones."""

    def solve_users(self) -> None:
        """Give every user the ridge solution for the item vectors, zeros without ratings."""

    def solve_items(self) -> None:
        """Give every item the ridge solution for the user vectors, zeros without ratings."""

    def vectors(self) -> tuple[Floats, Floats]:
        """(U+1, D) and (I+1, D) float32, to be read before the next solution."""


class Engine(Protocol):
    """Runs the long trainings. Iterators yield for every epoch the mean loss of the rows, each measured before its
    batch's step, and the state after the epoch."""

    @property
    def where(self) -> str:
        """The device, in words."""

    def least_squares(
        self, by_user: Csr, by_item: Csr, item_vectors: Floats, users: Ridge, items: Ridge
    ) -> LeastSquares:
        """Begin to factorize; the users' vectors are zeros until they are solved.

        Args:
            by_user: the ratings.
            by_item: the same ratings.
            item_vectors: (I+1, D) float32.
            users: the users' penalty.
            items: the items' penalty.
        """

    def base_model(self, model: BaseModel, ratings: Ratings, passes: Passes) -> Iterator[tuple[float, BaseModel]]:
        """Train a base model on squared errors.

        Args:
            model: where training starts.
            ratings: at least one.
            passes: over the ratings.

        Raises:
            ValueError: a user or item is outside the model's tables.
        """

    def meta_network(
        self, network: MetaNetwork, rows: Rows, penalty: float, passes: Passes
    ) -> Iterator[tuple[float, MetaNetwork]]:
        """Train a meta network on squared errors and the penalty.

        Args:
            network: where training starts.
            rows: at least one; every user has a history. Indices are not checked.
            penalty: weight of |W|² in the mean over a batch's rows, W being the row's bridge.
            passes: over the rows.
        """

    def mapping(self, matrix: Floats, source: Floats, wanted: Floats, passes: Passes) -> Iterator[tuple[float, Floats]]:
        """Train a common matrix on squared errors.

        Args:
            matrix: (X, Y) float32 where training starts.
            source: (N, X) float32.
            wanted: (N, Y) float32, what the matrix should map the source vectors to.
            passes: over the N rows.
        """
