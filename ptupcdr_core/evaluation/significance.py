"""Whether a difference is real: spread over seeds, and paired tests over users.

Two methods were measured on the same users, so their errors, or their lists, are compared user by user. Seeds hold out
different users; a user who was held out under several seeds counts once, with all their ratings together.

Shapes: M methods, R users, S resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, wilcoxon

from ptupcdr_core.errors import EvaluationError

RESAMPLES = 2_000
"""Of the bootstrap: 50 of them lie beyond each end of a 95 % interval."""
BLOCK = 1 << 22
"""Draws held at a time."""
METRICS = ("mae", "rmse")
CELL = ("pair", "recipe", "mode", "beta", "base_model")
"""What is held fixed when methods are compared."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedErrors:
    """The errors of several methods on the same users.

    Args:
        methods: M names.
        counts: (R,) ratings of each user.
        absolute: (M, R) sums of |error|.
        squared: (M, R) sums of error².
    """

    metrics: ClassVar = METRICS
    more_is_better: ClassVar = False
    methods: tuple[str, ...]
    counts: Doubles
    absolute: Doubles
    squared: Doubles

    def measures(self, weights: Doubles) -> dict[str, Doubles]:
        """(M, S) MAE and RMSE where user r counts weights[r, s] times."""
        ratings = self.counts @ weights
        return {"mae": self.absolute @ weights / ratings, "rmse": np.sqrt(self.squared @ weights / ratings)}

    def by_user(self, metric: str) -> Doubles:
        """(M, R) mean absolute (mae) or squared (rmse) error of each user."""
        return {"mae": self.absolute, "rmse": self.squared}[metric] / self.counts


@dataclass(frozen=True, eq=False)
class PairedLists:
    """How good several methods' lists are for the same users; every user counts once.

    Args:
        methods: M names.
        counts: (R,) items that each user took.
        ndcg_at_10: (M, R).
    """

    metrics: ClassVar = ("ndcg_at_10",)
    more_is_better: ClassVar = True
    methods: tuple[str, ...]
    counts: Doubles
    ndcg_at_10: Doubles

    def measures(self, weights: Doubles) -> dict[str, Doubles]:
        """(M, S) mean NDCG@10 where user r counts weights[r, s] times."""
        return {"ndcg_at_10": self.ndcg_at_10 @ weights / weights.sum(0)}

    def by_user(self, metric: str) -> Doubles:
        """(M, R) the metric of each user."""
        return {"ndcg_at_10": self.ndcg_at_10}[metric]


Paired = PairedErrors | PairedLists


def over_seeds(benchmark: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Mean and standard deviation (of a sample, n - 1) over seeds; one row a cell and method.

    Args:
        benchmark: the table ``benchmark`` or ``benchmark_lists``.
        metrics: columns of it.
    """
    wanted = {"seeds": ("seed", "nunique")}
    for metric in metrics:
        wanted |= {metric: (metric, "mean"), f"{metric}_std": (metric, "std")}
    groups = benchmark.groupby([*CELL, "method"], sort=True)
    return groups.agg(**wanted, seconds=("seconds", "mean")).reset_index()


def pair_errors(errors: pd.DataFrame) -> PairedErrors:
    """Lay out per-user errors of one cell (of any seeds) for comparison.

    Args:
        errors: rows of ``benchmark_errors`` or ``cold_start_errors``: method, user_id, ratings, absolute_error,
            squared_error.

    Raises:
        EvaluationError: the methods were not measured on the same ratings.
    """
    counts, sums = _by_method(errors, ["absolute_error", "squared_error"])
    return PairedErrors(tuple(counts.columns), counts.iloc[:, 0].to_numpy(np.float64), *sums)


def pair_lists(rankings: pd.DataFrame) -> PairedLists:
    """Lay out per-user measures of one cell for comparison.

    Args:
        rankings: rows of ``cold_start_rankings``: method, user_id, ratings, ndcg_at_10.

    Raises:
        EvaluationError: the methods were not measured on the same users and ratings.
    """
    counts, sums = _by_method(rankings, ["ndcg_at_10"])
    return PairedLists(tuple(counts.columns), counts.iloc[:, 0].to_numpy(np.float64), *sums)


def _by_method(rows: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, list[Doubles]]:
    """(R, M) ratings of each user, the same for all methods; and (M, R) sums of each column."""
    sums = rows.groupby(["method", "user_id"], sort=True)[["ratings", *columns]].sum()
    counts = sums["ratings"].unstack("method")
    if counts.isna().any(axis=None) or counts.nunique(axis=1).gt(1).any():
        raise EvaluationError("the methods were measured on different ratings: they cannot be compared in pairs")
    return counts, [sums[name].unstack("method").to_numpy(np.float64).T for name in columns]


@lru_cache(maxsize=1)
def bootstrap(errors: Paired, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Doubles]:
    """(M, S) the metrics of every method on resampled users: R of them, drawn with replacement, whole.

    All methods are measured on the same draws, so differences between them are paired. The last result is cached, since
    several comparisons ask for the same one; do not modify it.
    """
    rng, users = np.random.default_rng(seed), len(errors.counts)
    block = max(1, BLOCK // users)
    parts: list[dict[str, Doubles]] = []
    for start in range(0, resamples, block):
        draws = rng.integers(0, users, (min(block, resamples - start), users))
        draws += users * np.arange(len(draws))[:, None]
        weights = np.bincount(draws.ravel(), minlength=len(draws) * users).reshape(len(draws), users).T
        parts.append(errors.measures(weights.astype(np.float64)))
    return {metric: np.concatenate([part[metric] for part in parts], axis=1) for metric in errors.metrics}


def compare(
    errors: Paired,
    couples: Sequence[tuple[str, str]] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Compare methods two by two.

    Args:
        errors: errors or lists of one cell.
        couples: (first, second) names; None: any two.
        confidence: of the intervals.
        seed: of the bootstrap.
        resamples: S.

    Returns:
        One row a couple and metric: first, second, metric; difference (first - second: of errors, negative where the
        first is better); low and high (bootstrap interval); p (that the difference is 0, by its bootstrap deviation)
        and p_holm; wilcoxon (signed-rank test of the users' mean absolute or squared errors, or NDCG@10, each user
        counting once) and wilcoxon_holm; different (p_holm < 1 - confidence). Holm's correction is over all couples of
        the metric.

    The difference is one of the tables' values, where users count by their ratings; the signed-rank test asks another
    question, whether a user is better off. The two can disagree, so both are given; bold print follows the first.
    """
    place = {name: row for row, name in enumerate(errors.methods)}
    chosen = couples or [(a, b) for row, a in enumerate(errors.methods) for b in errors.methods[row + 1 :]]
    measured = errors.measures(np.ones((len(errors.counts), 1)))
    drawn = bootstrap(errors, seed=seed, resamples=resamples)
    tail = (1 - confidence) / 2
    tables = []
    for metric in errors.metrics:
        by_user, rows = errors.by_user(metric), []
        for first, second in chosen:
            a, b = place[first], place[second]
            difference = float(measured[metric][a, 0] - measured[metric][b, 0])
            draws = drawn[metric][a] - drawn[metric][b]
            low, high = np.quantile(draws, [tail, 1 - tail])
            rows.append(
                {
                    "first": first, "second": second, "metric": metric,
                    "difference": difference, "low": float(low), "high": float(high),
                    "p": _two_sided(difference, float(draws.std())), "p_holm": np.nan,
                    "wilcoxon": signed_rank(by_user[a] - by_user[b]),
                }
            )  # fmt: skip
        table = pd.DataFrame(rows)
        table["p_holm"], table["wilcoxon_holm"] = holm(table["p"].to_numpy()), holm(table["wilcoxon"].to_numpy())
        tables.append(table)
    result = pd.concat(tables, ignore_index=True)
    result["different"] = result["p_holm"] < 1 - confidence
    return result


def best_methods(errors: Paired, metric: str, *, confidence: float = 0.95, seed: int = 0) -> set[str]:
    """The best method, and all that are not significantly different from it: those to print bold."""
    values = errors.measures(np.ones((len(errors.counts), 1)))[metric][:, 0]
    best = errors.methods[int(values.argmax() if errors.more_is_better else values.argmin())]
    couples = [(best, other) for other in errors.methods if other != best]
    if not couples:
        return {best}
    table = compare(errors, couples, confidence=confidence, seed=seed)
    same = table[(table["metric"] == metric) & ~table["different"]]
    return {best, *same["second"]}


def _two_sided(difference: float, deviation: float) -> float:
    """p that a normal variable with mean 0 and this deviation lies at least so far from 0."""
    if difference == 0:
        return 1.0
    return float(2 * norm.sf(abs(difference) / deviation)) if deviation > 0 else 0.0


def signed_rank(differences: Doubles) -> float:
    """p of Wilcoxon's signed-rank test that the differences are symmetric around 0; 1 where all are 0."""
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="zsplit", method="approx").pvalue)


def holm(p: Doubles) -> Doubles:
    """Holm's step-down correction: the k-th smallest of n times (n - k + 1), never decreasing, at most 1."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
