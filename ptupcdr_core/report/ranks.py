"""The critical-difference picture: mean ranks of methods over a benchmark's cells, and who does not differ.

Demšar, *Statistical Comparisons of Classifiers over Multiple Data Sets*, JMLR 2006: after Friedman's test, two methods
differ where their mean ranks are further apart than q √(k (k + 1) / 6 n), for k methods and n cells (Nemenyi). The test
assumes independent cells. Those of one pair share their ratings, so the picture only shows how steady an order is;
whether a difference is real, the paired bootstrap of the tables says.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from ptupcdr_core.report.drawing import Picture, figure, finish
from ptupcdr_core.report.style import style

LEVEL = 0.05
"""Significance level of the critical difference."""
FEWEST_METHODS, FEWEST_CELLS = 3, 3
"""With fewer there is no picture."""


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over cells.

    Args:
        means: by method, best first; 1 is the best.
        cells: n.
        critical: the difference of mean ranks from which on two methods differ significantly.
        p: of Friedman's test; its null hypothesis is that all methods are alike.
    """

    means: dict[str, float]
    cells: int
    critical: float
    p: float

    def cliques(self) -> list[tuple[float, float]]:
        """Ends of the longest runs of mean ranks within which no two methods differ."""
        values = list(self.means.values())
        runs = [(v, max(w for w in values if w - v < self.critical)) for v in values]
        kept = [run for place, run in enumerate(runs) if not place or run[1] > runs[place - 1][1]]
        return [(low, high) for low, high in kept if high > low]


def ranks(benchmark: pd.DataFrame, recipe: str, metric: str = "rmse") -> Ranks | None:
    """Rank the methods of a recipe in every cell; None where there are too few of either."""
    own = benchmark[benchmark["recipe"] == recipe]
    wide = own.groupby(["beta", "seed", "method"])[metric].min().unstack("method").dropna(axis=1)
    n, k = wide.shape
    if k < FEWEST_METHODS or n < FEWEST_CELLS:
        return None
    means = pd.Series(rankdata(wide.to_numpy(), axis=1).mean(0), wide.columns).sort_values(kind="stable")
    critical = float(studentized_range.ppf(1 - LEVEL, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))
    p = float(friedmanchisquare(*wide.to_numpy().T).pvalue)
    return Ranks({str(name): float(value) for name, value in means.items()}, n, critical, p)


def picture(found: Ranks, recipe: str) -> Picture:
    """An axis of mean ranks, names left and right, and a bar over each run of methods that do not differ."""
    count, bars = len(found.means), found.cliques()
    half = (count + 1) // 2
    drawn = figure(0.9 + 0.3 * half + 0.14 * len(bars))
    axes = drawn.subplots()
    top = 0.6 + 0.35 * len(bars)
    axes.plot([1, count], [0, 0], color="#222222", linewidth=1.2)
    for tick in range(1, count + 1):
        axes.plot([tick, tick], [0, 0.12], color="#222222", linewidth=1)
        axes.annotate(str(tick), (tick, 0.2), ha="center", fontsize=10)
    for place, (method, mean) in enumerate(found.means.items()):
        left = place < half
        y = -top - 0.7 * (place if left else count - 1 - place)
        end = 1 - 0.04 * count if left else count + 0.04 * count
        look = style(method)
        axes.plot([mean, mean, end], [0, y, y], color=look.color, linewidth=1.4)
        axes.annotate(f"{look.name} {mean:.2f}", (end, y), (-4 if left else 4, 0), textcoords="offset points",
                      ha="right" if left else "left", va="center", fontsize=10)  # fmt: skip
    for number, (low, high) in enumerate(bars):
        axes.plot([low, high], [-0.3 - 0.35 * number] * 2, color="#222222", linewidth=3.5, solid_capstyle="round")
    axes.plot([1, 1 + min(found.critical, count - 1)], [0.9, 0.9], color="#222222", linewidth=1.6)
    axes.annotate(f"critical difference {found.critical:.2f}", (1, 1.05), fontsize=10)
    axes.set_xlim(1 - 0.45 * count, count + 0.45 * count)
    axes.set_axis_off()
    return finish(drawn, f"critical_differences_{recipe}", f"Mean ranks of the methods in the recipe {recipe}")
