"""Closed forms between large embeddings, confined to the directions in which the factors of either side differ most.

A bridge between vectors of 128 factors has 18,000 entries, too many for normal equations, and for the number of
ratings. The other coordinates, few and strong, are kept as they are.

Shapes: X by Y the bridge, x by y the confined one, D factors, N rows.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.models.bridge_rows import BridgeRows
from ptupcdr_core.training.task import BridgeTask

ROWS = 1 << 16
"""Rows whose predictions are made at a time."""


@dataclass(frozen=True)
class Leading:
    """The directions of a task's two sides.

    Args:
        source: (X, x) float32, orthonormal columns.
        target: (Y, y) float32, the same.
        kept: (x,) and (y,) the coordinates that the columns stand for; the leading directions take the places of as
            many factors.
    """

    source: Floats
    target: Floats
    kept: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, task: BridgeTask, most_entries: int) -> Self:
        """As many directions as possible so that the bridge has at most so many entries; at least one."""
        X, Y = task.prior.shape
        own = task.history_vectors.shape[1]
        size = own if task.level is None else task.level[1]  # several sources together have more factors than a target
        count = max(k for k in range(1, own + 1) if k == 1 or (k + X - own) * (min(k, size) + Y - size) <= most_entries)
        source = _directions(task.source_vectors[task.bridge_users], own, count)
        target = _directions(task.rows.vectors, size, min(count, size))
        return cls(source, target, (np.r_[:count, own:X], np.r_[: min(count, size), size:Y]))

    @property
    def whole(self) -> bool:
        """Whether the directions span everything, so that nothing is left out."""
        return len(self.source) == len(self.source.T)

    def confine(self, task: BridgeTask) -> BridgeTask:
        """The task in the coordinates of the directions; its bridges are x by y."""
        if self.whole:
            return task
        entries = np.ix_(*self.kept)
        level = task.level
        if level is not None:
            level = (int(np.searchsorted(self.kept[0], level[0])), int(np.searchsorted(self.kept[1], level[1])))
        return replace(
            task,
            source_vectors=task.source_vectors @ self.source,
            rows=self.rows(task.rows),
            prior=np.asarray(self.source.T @ task.prior @ self.target, np.float32),
            expected=tuple(expected[entries] for expected in task.expected),
            effects=None if task.effects is None else task.effects[entries],
            level=level,
        )

    def rows(self, rows: BridgeRows) -> BridgeRows:
        """The rows with their item vectors along the directions."""
        return replace(rows, vectors=rows.vectors @ self.target)

    def lift(self, matrices: Floats) -> Floats:
        """(..., X, Y) bridges that act as (..., x, y) ones along the directions, and are zero elsewhere."""
        return np.asarray(self.source @ matrices @ self.target.T, np.float32)


def beyond(task: BridgeTask, bridge: Floats) -> BridgeRows:
    """The task's rows with the residuals of a bridge (X, Y) as wanted numbers."""
    rows, wanted = task.rows, np.empty_like(task.rows.wanted)
    for start in range(0, len(wanted), ROWS):
        block = slice(start, start + ROWS)
        embeddings = task.source_vectors[rows.users[block]] @ bridge
        wanted[block] = rows.wanted[block] - np.einsum("ny,ny->n", embeddings, rows.vectors[rows.pick[block]])
    return replace(rows, wanted=wanted)


def _directions(vectors: Floats, size: int, count: int) -> Floats:
    """(C, C - size + count): the first ``size`` of C coordinates along their leading directions, the others as is."""
    width = vectors.shape[1]
    if count == size:
        return np.eye(width, dtype=np.float32)
    factors = vectors[:, :size].astype(np.float64)
    directions = np.zeros((width, count + width - size), np.float32)
    directions[:size, :count] = np.linalg.eigh(factors.T @ factors)[1][:, ::-1][:, :count]
    directions[size:, count:] = np.eye(width - size)
    return directions
