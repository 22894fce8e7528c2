"""Fine-tuning: a user's embedding is adapted to the user's first target ratings; the item side stays fixed.

In the paper's words, "û is the initial target embedding". How far it may move is chosen on validation users, by the
same protocol as for test users. In the recipe ``calibrated``, the tuned embedding is a ridge solution around the
initial one; in the others, it is the result of Adam's steps from there.

Shapes: R users, Y coordinates of an embedding, N known ratings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import Ratings, Scale
from ptupcdr_core.data.warm_split import KNOWN, Known, WarmSplit
from ptupcdr_core.kernels.adam import BETA1, BETA2, EPSILON
from ptupcdr_core.kernels.csr import compress, numbered
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.vectors import FAST, loop
from ptupcdr_core.models.rating_errors import rating_errors
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.als import fold_in
from ptupcdr_core.training.task import BridgeTask

PENALTIES = tuple(10 ** (k / 2) for k in range(7))
"""Ridge penalties that are tried, 1 to 10³: coordinates have unit size, so the prior expects a coordinate to move by no
more than about 1 / √penalty."""
FACTOR_SHARES = (1.0, 0.3, 0.1)
"""How far the factors may move, relative to the constant: best was 1 on planted taste, 0.3 on sparse real ratings."""
OTHER_SHARE = 0.3
"""The same of bias and counts, of which a person's ratings say little. 0 to 0.3 did equally well, 1 clearly worse."""
STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200)
"""Numbers of gradient steps that are tried."""


class Tuning(Protocol):
    """Adapts users' embeddings to their known ratings."""

    def __call__(self, start: Floats, target: TargetItems, rows: NDArray[np.int64], known: Ratings) -> Floats:
        """(R, Y) tuned embeddings.

        Args:
            start: (R, Y) float32.
            target: the item side of the score.
            rows: (N,) row in ``start`` of each rating, ascending.
            known: N ratings.
        """

    def numbers(self) -> dict[str, float]:
        """The penalty and the share that were chosen, as metrics."""


@dataclass(frozen=True)
class RidgeTuning:
    """û + argmin over w of Σ (r - score(û) - w · y)² + penalty Σ (w_c / reach_c)².

    With reach 1 that is û + (Σ y yᵀ + penalty I)⁻¹ Σ y (r - score(û)).

    Args:
        penalty: > 0; infinite leaves the start as it is.
        reach: (Y,) float32, ≥ 0, how far each coordinate may move, relative to the others.
        share: the factors' part of ``reach``, for ``numbers``.
    """

    penalty: float
    reach: Floats = field(repr=False)
    share: float = 1.0

    def __call__(self, start: Floats, target: TargetItems, rows: NDArray[np.int64], known: Ratings) -> Floats:
        """(R, Y) tuned embeddings; see ``Tuning``."""
        if not len(known) or np.isinf(self.penalty):
            return start
        missed = known.stars - target.score(start, rows, known.items)
        items, columns = numbered(known.items)  # tunings are many, and most items in no rating
        vectors = np.zeros((len(items) + 1, len(self.reach)), np.float32)
        vectors[1:] = target.vectors[items] * self.reach
        ratings = compress((rows + 1).astype(np.int32), columns, missed.astype(np.float32), len(start))
        moved = fold_in(ratings, vectors, regularization=self.penalty, weighted=False)
        return np.asarray(start + moved[1:] * self.reach, dtype=np.float32)

    def numbers(self) -> dict[str, float]:
        """Penalty and share."""
        return {"penalty": self.penalty, "factor_share": self.share}


@dataclass(frozen=True)
class StepTuning:
    """Adam on the users' embeddings alone, on the mean squared error of each user's known ratings.

    Args:
        steps: of every user, or with ``each_rating`` of every known rating.
        learning_rate: Adam's.
        each_rating: whether a user takes ``steps`` steps per known rating, as in training, which meets each rating once
            an epoch.
    """

    steps: int
    learning_rate: float
    each_rating: bool = False

    def __call__(self, start: Floats, target: TargetItems, rows: NDArray[np.int64], known: Ratings) -> Floats:
        """(R, Y) tuned embeddings; see ``Tuning``."""
        tuned = np.array(start, np.float32)
        if len(known) and self.steps:
            counts = np.bincount(rows, minlength=len(start))
            steps = self.steps * (counts if self.each_rating else (counts > 0).astype(np.int64))
            rated = _Rated(np.cumsum(counts), steps, known.items, known.stars - target.offset[known.items])
            gradient, moments = np.empty(tuned.shape[1], np.float32), np.empty((2, tuned.shape[1]))
            _take_steps(tuned, target.vectors, rated, self.learning_rate, gradient, moments)
        return tuned

    def numbers(self) -> dict[str, float]:
        """The number of steps."""
        return {"steps": float(self.steps)}


class _Rated(NamedTuple):
    """What R users rated: (R,) where each one's ratings end, and steps to take; (N,) items, and wanted products."""

    ends: NDArray[np.int64]
    steps: NDArray[np.int64]
    items: Index
    wanted: Floats


@loop(fastmath=FAST)
def _take_steps(
    tuned: Floats, vectors: Floats, rated: _Rated, learning_rate: float, gradient: Floats, moments: NDArray[np.float64]
) -> None:
    """Adam (Kingma and Ba, ICLR 2015) on each row of ``tuned`` (R, Y).

    One user after the other, so that the user's few item vectors stay in the cache from step to step. ``gradient`` (Y,)
    and ``moments`` (2, Y) are overwritten.
    """
    ends, steps, items, wanted = rated
    size = tuned.shape[1]
    first, second = moments[0], moments[1]
    begin = 0
    for user in range(len(tuned)):
        first[:], second[:] = 0, 0
        left1 = left2 = 1.0
        for _ in range(steps[user]):
            gradient[:] = 0
            for n in range(begin, ends[user]):
                missed = -wanted[n]
                for y in range(size):
                    missed += tuned[user, y] * vectors[items[n], y]
                for y in range(size):
                    gradient[y] += missed * vectors[items[n], y]
            left1, left2 = BETA1 * left1, BETA2 * left2
            for y in range(size):
                slope = 2 * gradient[y] / (ends[user] - begin)
                first[y] = BETA1 * first[y] + (1 - BETA1) * slope
                second[y] = BETA2 * second[y] + (1 - BETA2) * slope**2
                tuned[user, y] -= learning_rate * first[y] / (1 - left1) / (np.sqrt(second[y] / (1 - left2)) + EPSILON)
        begin = ends[user]


def tunings(task: BridgeTask, settings: Settings) -> list[Tuning]:
    """The tunings among which validation users choose; leaving the start as it is is one of them."""
    if task.level is None:
        return [StepTuning(steps, settings.learning_rate) for steps in STEPS]
    constant = task.level[1]  # the factors are before it
    coordinates = np.arange(task.target.vectors.shape[1])

    def reach(share: float) -> Floats:
        return np.where(coordinates < constant, share, np.where(coordinates > constant, OTHER_SHARE, 1)).astype("f4")

    finite = [RidgeTuning(penalty, reach(share), share) for share in FACTOR_SHARES for penalty in PENALTIES]
    return [*finite, RidgeTuning(float("inf"), reach(1.0))]


def choose_tuning(
    candidates: Sequence[Tuning], start: Floats, target: TargetItems, validation: WarmSplit, scale: Scale
) -> dict[Known, Tuning]:
    """The tuning that predicts the validation users' second halves best, for each number of known ratings.

    A penalty adapts to the number of ratings by itself, so one is chosen for all numbers together, by the sum of
    squared errors; a number of steps does not adapt, so each number of ratings has its own.

    Args:
        candidates: at least one; of equals the first is taken.
        start: (R, Y) the validation users' initial embeddings.
        target: the item side of the score.
        validation: their ratings.
        scale: predictions are clipped to it.
    """
    amounts = KNOWN[1:]
    errors = np.empty((len(candidates), len(amounts)))
    for place, tuning in enumerate(candidates):
        for column, amount in enumerate(amounts):
            known = validation.known(amount)
            tuned = tuning(start, target, validation.rows(known), known)
            scores = target.score(tuned, validation.rows(validation.second), validation.second.items)
            errors[place, column] = rating_errors(scores, validation.second, scale).squared.sum()
    if isinstance(candidates[0], RidgeTuning):
        errors[:] = errors.sum(1, keepdims=True)
    best = errors.argmin(0)
    return {amount: candidates[place] for amount, place in zip(amounts, best, strict=True)}
