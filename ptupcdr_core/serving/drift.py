"""How far a night's data and lists are from what the deployed bundle was trained on, and from the night before.

Distributions are compared by the population stability index, sum (p - q) ln(p / q) over ten bins: by convention, below
0.1 it is taken for noise and above 0.2 for another population. Shares below ``LEAST`` count as ``LEAST``. With few
people the index is large by chance alone, so each comes with the value that chance exceeds in one night of a hundred.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2

from ptupcdr_core.data.pair_data import SIDES
from ptupcdr_core.serving.data_summary import BINS
from ptupcdr_core.serving.today import Today

LEAST = 1e-4
"""Least share of a bin: with an empty one the index would be infinite."""
RARE = 0.01
"""Probability with which chance alone exceeds the value given as ``chance``."""
COUNT, STARS, UNKNOWN, SCORES, OVERLAP = "count", "stars", "unknown", "scores", "overlap"
RETRAIN = (COUNT, STARS, UNKNOWN, SCORES)
"""Kinds that recommend a training when they are beyond their bounds; new lists alone do not."""


@dataclass(frozen=True)
class Measure:
    """One number of a night beside what it is compared with.

    Args:
        kind: count, stars, unknown, scores or overlap.
        measure: its name, such as ``source_users``.
        before: of the training, of the bundle's first night (scores) or of the night before (overlap); None where
            there is none.
        tonight: of tonight.
        drift: how far they are apart: the relative change of a count, the stability index of a distribution, the share
            that is unknown, the share of a person's items that are new; None where there is nothing to compare with.
        chance: the stability index that chance alone exceeds with probability ``RARE``; None for other kinds.
    """

    kind: str
    measure: str
    before: float | None
    tonight: float
    drift: float | None
    chance: float | None = None


def stability_index(before: ArrayLike, now: ArrayLike) -> float:
    """The population stability index of two distributions over the same bins, 0 where they are equal."""
    p, q = (np.maximum(np.asarray(shares, float), LEAST) for shares in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def chance_index(before: int, now: int, bins: int = BINS) -> float:
    """What the stability index of two samples of one population exceeds with probability ``RARE``.

    It is close to (1/n + 1/m) times a chi-squared of bins - 1 degrees of freedom (Yurdakul 2018).

    Args:
        before: n, number of people in one sample.
        now: m, number of people in the other.
        bins: number of occupied bins.
    """
    return float(chi2.ppf(1 - RARE, max(1, bins - 1)) * (1 / max(1, before) + 1 / max(1, now)))


def data_drift(today: Today) -> list[Measure]:
    """Compare today's ratings with the bundle's training; only unknown items if the bundle has no summary of it."""
    found, before = [], today.served.origin.data
    if before is not None:
        now = today.summary(before.scales)
        found += [
            Measure(COUNT, name, count, now.counts[name], now.counts[name] / max(1, count) - 1)
            for name, count in before.counts.items()
        ]
        for side, old in before.stars.items():
            occupied = sum(a > 0 or b > 0 for a, b in zip(old, now.stars[side], strict=True))
            chance = chance_index(before.counts[f"{side}_users"], now.counts[f"{side}_users"], occupied)
            drift = stability_index(old, now.stars[side])
            found.append(Measure(STARS, f"{side}_stars", before.means[side], now.means[side], drift, chance))
    unknown = today.unknown()
    return [*found, *(Measure(UNKNOWN, f"{side}_items_unknown", 0, unknown[side], unknown[side]) for side in SIDES)]


@dataclass(frozen=True)
class Scores:
    """How the best scores of everybody's lists are spread, in ten bins that were equally filled on the first night.

    Only the best score of each list counts, so that longer lists do not look like lower scores.

    Args:
        bundle: digest of the bundle that made them.
        edges: (9,) between the bins.
        shares: (10,).
        mean: of all.
        people: how many.
    """

    bundle: str
    edges: list[float]
    shares: list[float]
    mean: float
    people: int

    @classmethod
    def of(cls, bundle: str, blocks: Iterable[ArrayLike], edges: Sequence[float]) -> "Scores":
        """Count scores, which come in blocks (n,), in the bins between ``edges``."""
        counted, total = np.zeros(BINS, np.int64), 0.0
        for block in blocks:
            found = np.asarray(block, float)
            counted += np.bincount(np.searchsorted(edges, found, side="right"), minlength=BINS)
            total += float(found.sum())
        people = int(counted.sum())
        return cls(bundle, [*edges], (counted / max(1, people)).tolist(), total / max(1, people), people)

    def beside(self, tonight: "Scores") -> Measure:
        """Compare with tonight's scores, which were counted in the same bins."""
        drift, chance = stability_index(self.shares, tonight.shares), chance_index(self.people, tonight.people)
        return Measure(SCORES, "best_scores", self.mean, tonight.mean, drift, chance)


def list_overlap(overlap: float | None) -> list[Measure]:
    """Drift of lists, from the share of a person's items that were in last night's list; None: nobody had one."""
    return [] if overlap is None else [Measure(OVERLAP, "list_overlap", 1, overlap, 1 - overlap)]


def curves(measures: Iterable[Measure]) -> dict[str, float]:
    """What is drawn over the nights: each drift, under its measure's name."""
    return {f"drift_{found.measure}": found.drift for found in measures if found.drift is not None}
