"""A predicted rating as a distribution over the stars that people give.

A method predicts one number m, a mean. Ratings are skewed, bounded and whole. So the number with the least absolute
error, the median, differs from the mean, and neither says how likely a person is to like an item. The cumulative logit
model (McCullagh 1980) gives all of it from m with few parameters:

    P(rating ≥ level k) = σ(exp(-γ · d) (exp(β) (m - center) - θ_k))

with increasing thresholds θ, one slope, and γ for the dispersion features d: how much further from predictions a
person's and an item's ratings lie than others'. It is fitted by penalized maximum likelihood to people whose ratings
the method was not trained on. If they are few, the thresholds stay near those that give the training ratings' shares of
levels, and γ near zero.

Shapes: N ratings, K levels, F dispersion features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.threads import one_thread

Doubles = NDArray[np.float64]

MOST_LEVELS = 11
"""Most levels; finer scales are divided into this many groups with about equally many ratings."""
PENALTY = 100.0
"""Weight of each parameter's squared distance from its start. On the pairs that were tried, 30 and 300 did equally well
on validation users; with only a dozen of them, who share habits, more is better than less."""
FARTHEST = 30.0
"""Logits beyond this count as certain."""


@dataclass(frozen=True)
class Levels:
    """The distinct values of ratings.

    Args:
        values: (K,) ascending, the mean rating of each level; on a scale of stars, the stars.
        edges: (K-1,) between them: the level of a rating is the number of edges that it reaches.
        shares: (K,) of the training ratings, none zero.
    """

    values: Doubles
    edges: Doubles
    shares: Doubles

    @classmethod
    def of(cls, stars: Floats) -> Self:
        """The levels of training ratings, at least one of them."""
        distinct = np.unique(stars).astype(np.float64)
        if len(distinct) > MOST_LEVELS:
            distinct = np.unique(np.quantile(stars.astype(np.float64), np.arange(MOST_LEVELS) / MOST_LEVELS))
            edges = distinct[1:]
        else:
            edges = (distinct[1:] + distinct[:-1]) / 2
        level = np.searchsorted(edges, stars, side="right")
        counts = np.bincount(level, minlength=len(edges) + 1)
        kept = counts > 0
        edges, counts = edges[kept[1:]], counts[kept]
        sums = np.bincount(np.searchsorted(edges, stars, side="right"), stars, len(counts))
        return cls(sums / counts, edges, counts / counts.sum())

    def level(self, stars: Floats) -> NDArray[np.int64]:
        """(N,) the level of each rating, from 0."""
        return np.asarray(np.searchsorted(self.edges, stars, side="right"), np.int64)


@dataclass(frozen=True)
class OrdinalCalibration:
    """From predicted means to distributions.

    Args:
        levels: the levels of ratings.
        center: is subtracted from m.
        slope: exp(β), above zero.
        thresholds: (K-1,) θ, ascending.
        dispersion: (F,) γ.
    """

    levels: Levels
    center: float
    slope: float
    thresholds: Doubles
    dispersion: Doubles

    def reached(self, predicted: Floats, features: Floats) -> Doubles:
        """(N, K-1) P(rating of at least the second, third, … level).

        Args:
            predicted: (N,) means.
            features: (N, F) dispersion features.
        """
        return np.asarray(expit(_logits(self._parameters, predicted - self.center, features)))

    def probabilities(self, predicted: Floats, features: Floats) -> Doubles:
        """(N, K) probability of each level; rows sum to 1."""
        reached = self.reached(predicted, features)
        ends = np.ones((len(reached), 1))
        return -np.diff(np.concatenate([ends, reached, 0 * ends], axis=1), axis=1)

    def medians(self, predicted: Floats, features: Floats) -> Floats:
        """(N,) medians, each a level: no other prediction has a smaller expected absolute error."""
        at = (self.reached(predicted, features) > 0.5).sum(1)
        return np.asarray(self.levels.values[at], np.float32)

    def log_loss(self, predicted: Floats, features: Floats, stars: Floats) -> Doubles:
        """(N,) -log P(the level that was given), at most about ``FARTHEST``."""
        chosen = self.probabilities(predicted, features)[np.arange(len(stars)), self.levels.level(stars)]
        return np.asarray(-np.log(np.maximum(chosen, np.exp(-FARTHEST))))

    def tensors(self) -> dict[str, Doubles]:
        """All numbers by name."""
        return {
            "values": self.levels.values,
            "edges": self.levels.edges,
            "shares": self.levels.shares,
            "line": np.array([self.center, self.slope]),
            "thresholds": self.thresholds,
            "dispersion": self.dispersion,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Self:
        """Make the calibration that ``tensors()`` described."""
        levels = Levels(tensors["values"], tensors["edges"], tensors["shares"])
        center, slope = tensors["line"].tolist()
        return cls(levels, center, slope, tensors["thresholds"], tensors["dispersion"])

    @property
    def _parameters(self) -> Doubles:
        return np.concatenate([[np.log(self.slope)], self.dispersion, self.thresholds])


def fit_ordinal(levels: Levels, predicted: Floats, features: Floats, stars: Floats) -> OrdinalCalibration:
    """Fit a method's calibration.

    Args:
        levels: of the training ratings.
        predicted: (N,) the method's means for ratings that it was not trained on; N may be 0.
        features: (N, F) dispersion features, about zero on average.
        stars: (N,) the ratings.
    """
    start, center = _start(levels, predicted, features, stars)
    if not len(stars) or len(levels.values) < 2:
        return _calibration(levels, center, start, features.shape[1])
    m, given = predicted.astype(np.float64) - center, levels.level(stars)
    widths = np.diff(start[1 + features.shape[1] :])

    def unfold(free: Doubles) -> Doubles:
        """Thresholds from the first one and the logarithms of the distances between them, relative to the start."""
        first, gaps = free[1 + features.shape[1]], np.exp(free[2 + features.shape[1] :]) * widths
        return np.concatenate([free[: 1 + features.shape[1]], first + np.concatenate([[0.0], np.cumsum(gaps)])])

    origin = np.concatenate([start[: 2 + features.shape[1]], np.zeros(len(widths))])

    def loss(free: Doubles) -> tuple[float, Doubles]:
        parameters = unfold(free)
        value, gradient = _negative_log_likelihood(parameters, m, features, given)
        tail = np.cumsum(gradient[::-1])[::-1]  # a distance shifts all thresholds above it
        by_gap = tail[2 + features.shape[1] :] * np.diff(parameters[1 + features.shape[1] :])
        slope = np.concatenate([gradient[: 1 + features.shape[1]], tail[[1 + features.shape[1]]], by_gap])
        away = free - origin
        return value + PENALTY / 2 * float(away @ away), slope + PENALTY * away

    with one_thread():
        found = minimize(loss, origin, jac=True, method="L-BFGS-B")
    return _calibration(levels, center, unfold(found.x), features.shape[1])


def _start(levels: Levels, predicted: Floats, features: Floats, stars: Floats) -> tuple[Doubles, float]:
    """Parameters to shrink towards, and the center: the slope of logistic noise with the spread of ratings around the
    predictions, and the thresholds that give the training ratings' shares."""
    if not len(stars):
        predicted = stars = np.zeros(1, np.float32)
    center = float(predicted.mean(dtype=np.float64))
    m = predicted.astype(np.float64) - center
    noise = float(np.sqrt(np.square(predicted - stars, dtype=np.float64).mean()))
    slope = np.pi / np.sqrt(3) / max(noise, 1e-3)
    reached = np.cumsum(levels.shares[::-1])[::-1][1:]
    far = slope * float(np.abs(m).max()) + FARTHEST
    thresholds = [brentq(lambda at, p=p: expit(slope * m - at).mean() - p, -far, far) for p in reached]
    return np.concatenate([[np.log(slope)], np.zeros(features.shape[1]), thresholds]), center


def _calibration(levels: Levels, center: float, parameters: Doubles, features: int) -> OrdinalCalibration:
    slope = float(np.exp(parameters[0]))
    return OrdinalCalibration(levels, center, slope, parameters[1 + features :], parameters[1 : 1 + features])


def _logits(parameters: Doubles, m: Doubles | Floats, features: Floats) -> Doubles:
    """(N, K-1) logits of reaching each level but the lowest."""
    count = features.shape[1]
    narrow = np.exp(-(features.astype(np.float64) @ parameters[1 : 1 + count]))
    return np.asarray(narrow[:, None] * (np.exp(parameters[0]) * m[:, None] - parameters[1 + count :]))


def _negative_log_likelihood(
    parameters: Doubles, m: Doubles, features: Floats, given: NDArray[np.int64]
) -> tuple[float, Doubles]:
    """-log P of the given levels, and its gradient; only the two ends of a given level count."""
    count = features.shape[1]
    thresholds = parameters[1 + count :]
    scaled = np.exp(parameters[0]) * m
    narrow = np.exp(-(features.astype(np.float64) @ parameters[1 : 1 + count]))
    low, high = (_end(narrow, scaled, thresholds, given + above) for above in (0, 1))
    chosen = np.maximum(low.reached - high.reached, np.exp(-FARTHEST))
    by_low, by_high = -low.steep / chosen, high.steep / chosen
    of_slope = float((narrow * scaled) @ (by_low + by_high))
    of_dispersion = -((by_low * low.logits + by_high * high.logits) @ features)
    of_ends = np.bincount(given, narrow * by_low, len(thresholds) + 2)
    of_ends += np.bincount(given + 1, narrow * by_high, len(thresholds) + 2)
    gradient = np.concatenate([[of_slope], of_dispersion, -of_ends[1:-1]])
    return -float(np.log(chosen).sum()), gradient


class _End(NamedTuple):
    """One end of each row's level: (N,) its logit, the probability to reach it, and how that changes with the logit."""

    logits: Doubles
    reached: Doubles
    steep: Doubles


def _end(narrow: Doubles, scaled: Doubles, thresholds: Doubles, number: NDArray[np.int64]) -> _End:
    """The ends of these numbers: 0 is below the lowest level, which everybody reaches, the last above the highest."""
    logits = narrow * (scaled - np.concatenate([[0.0], thresholds, [0.0]])[number])
    reached = expit(logits)
    reached[number == 0], reached[number == len(thresholds) + 1] = 1, 0
    return _End(logits, reached, reached * (1 - reached))
