"""Choosing an epoch: training yields a candidate per epoch, and observers keep the best one by a rule.

A training is a generator of ``Epoch``s. The lineage watches with one rule (validation RMSE); the benchmark lets several
recipes watch one training, each with its own rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")

OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after every epoch with its number (0 is the start) and its metrics."""


@dataclass(frozen=True)
class Epoch(Generic[T]):
    """The state after a pass over the training rows.

    Args:
        number: from 1; 0 is the start.
        candidate: the model as it is now; later epochs do not change it.
        metrics: by name, for example the training loss.
    """

    number: int
    candidate: T
    metrics: dict[str, float]

    def map(self, change: Callable[[T], S]) -> "Epoch[S]":
        """The same epoch with another form of its candidate."""
        return Epoch(self.number, change(self.candidate), self.metrics)


class BestEpoch(Generic[T]):
    """Keeps the candidate with the lowest error, the earliest of equals."""

    def __init__(self) -> None:
        """Start without a candidate."""
        self.number = -1
        self.error = float("inf")
        self._candidate: T | None = None

    def offer(self, number: int, error: float, candidate: T) -> None:
        """Keep this epoch's candidate if its error is lower than all before."""
        if error < self.error or self.number < 0:
            self.number, self.error, self._candidate = number, error, candidate

    @property
    def candidate(self) -> T:
        """The best candidate so far; ValueError before any was offered."""
        if self._candidate is None:
            raise ValueError("no epoch was offered")
        return self._candidate


class Curves:
    """Collects every epoch's metrics on their way to the listener."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        """Pass every epoch on to this listener."""
        self.on_epoch = on_epoch
        self.values: dict[str, list[float]] = {}
        self.epochs: dict[str, list[int]] = {}

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        """Keep an epoch's metrics and pass them on."""
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)
            self.epochs.setdefault(name, []).append(epoch)
        self.on_epoch(epoch, metrics)

    def last(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: values[-1] for name, values in self.values.items()}

    def by_epoch(self) -> dict[str, list[tuple[int, float]]]:
        """(epoch, value) by name, as a checkpoint's manifest keeps them."""
        return {name: list(zip(self.epochs[name], self.values[name], strict=True)) for name in self.values}
