"""Means over each user's and each item's ratings in blocks, damped as ``training.variance_components`` does it.

Shapes: n rows of a block, m ratings of it, k values of a rating.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.training.variance_components import Moments, VarianceComponents
from ptupcdr_spark.blocks import Make, Sent, Side
from ptupcdr_spark.steps import Doubles, State, Steps

Values = Callable[[Csr, Floats, bytes], NDArray[Any]]
"""(m, k) numbers whose means are wanted, from a block's ratings, the other side's numbers, and the block's own."""
_TOLD = 5
"""Numbers told of each value, after two told of the ratings themselves."""


@dataclass(frozen=True)
class Means:
    """Sizes and sums of all rows' values.

    Args:
        state: (n, 1 + k) float64 of each block: how many ratings, and the sums.
        values: k.
    """

    state: State
    values: int

    @classmethod
    def of(
        cls, steps: Steps, name: str, side: Side, values: Values, count: int, other: Sent | None = None,
        own: State | None = None,
    ) -> "Means":  # fmt: skip
        """Sum each row's values, of which there are ``count`` a rating."""
        return cls(steps.step(name, lambda: side.step(_summing(values), other, own)), count)

    @property
    def ratings(self) -> float:
        """N."""
        return float(self.state.told[0])

    @property
    def mean_log(self) -> float:
        """The mean over the ratings of log(1 + ratings of the row)."""
        return float(self.state.told[1] / max(self.state.told[0], 1.0))

    def damping(self, value: int = 0) -> float:
        """See ``VarianceComponents``."""
        groups, squares, within, total, of_means = self.state.told[2 + _TOLD * value :][:_TOLD]
        between = of_means - total * total / max(self.ratings, 1.0)
        return VarianceComponents.of_moments(Moments(self.ratings, groups, squares, within, between)).damping

    def shrunk(self, value: int = 0) -> "Shrunk":
        """The damped means of one value."""
        return Shrunk(self.values, value, self.damping(value))

    def sent(self, *read: "Shrunk | CenteredLogs") -> Sent:
        """These numbers, side by side."""
        return Sent(self.state, lambda numbers: np.stack([one(numbers) for one in read], axis=1), len(read))


@dataclass(frozen=True)
class Shrunk:
    """Σ values / (n + damping), float32, of a block's sizes and sums. See ``Means``."""

    values: int
    value: int
    damping: float

    def __call__(self, numbers: bytes) -> Floats:
        """(n,)."""
        sums = np.frombuffer(numbers).reshape(-1, 1 + self.values)
        return (sums[:, 1 + self.value] / (sums[:, 0] + self.damping)).astype(np.float32)


@dataclass(frozen=True)
class CenteredLogs:
    """Log(1 + ratings of a row), less its mean over ratings. See ``Means``."""

    values: int
    mean: float

    def __call__(self, numbers: bytes) -> Floats:
        """(n,)."""
        return (np.log1p(counts(self.values)(numbers).astype(np.float64)) - self.mean).astype(np.float32)


def counts(values: int) -> Callable[[bytes], Floats]:
    """Reads how many ratings each row has."""
    return lambda numbers: np.frombuffer(numbers).reshape(-1, 1 + values)[:, 0].astype(np.float32)


def _summing(values: Values) -> Make:
    def make(rows: Csr, others: Floats, own: bytes) -> tuple[Doubles, Doubles]:
        summed = values(rows, others, own)
        sizes = np.diff(rows.offsets).astype(np.float64)
        row = np.repeat(np.arange(len(sizes)), np.diff(rows.offsets))
        sums = np.stack([np.bincount(row, column, len(sizes)) for column in summed.T], axis=1)
        told = [sizes.sum(), sizes @ np.log1p(sizes)]
        for column, total in zip(summed.T, sums.T, strict=True):
            means = total / np.maximum(sizes, 1)
            within = column.astype(np.float64) - means[row]
            told += [np.count_nonzero(sizes), sizes @ sizes, within @ within, total.sum(), total @ means]
        return np.column_stack([sizes, sums]), np.array(told)

    return make
