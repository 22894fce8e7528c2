"""Pictures as PNG, drawn by matplotlib's objects without a display; imported only when a report is made."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from ptupcdr_core.report.style import style

WIDTH = 7.2
"""Inches of every picture: as wide as printed paper, and small enough that a phone shows letters of 8 pixels."""
DPI = 150
FONT: Any = {"font.size": 11, "axes.titlesize": 11, "font.family": "DejaVu Sans"}
OFF_SCALE = 2.0
"""An error above this many times the lowest is off the scale: it would flatten the differences between the others."""
LOG_TICKS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)
"""Ticks of a logarithmic scale; those within its range are drawn."""
LOGARITHMIC = "The scale is logarithmic where errors lie far apart: equal steps up are equal ratios."


@dataclass(frozen=True)
class Picture:
    """A PNG and what is seen on it.

    Args:
        name: as a key of metadata, such as ``learning_curves``.
        png: the file.
        alt: for those who cannot see it.
    """

    name: str
    png: bytes
    alt: str


def figure(height: float) -> Figure:
    """An empty figure of the page's width."""
    drawn = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


def finish(drawn: Figure, name: str, alt: str) -> Picture:
    """The figure as PNG; without the time of its making, so that equal content makes equal files."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return Picture(name, buffer.getvalue(), alt)


def plain(axes: Axes, *, grid: str = "y") -> None:
    """Remove the frame's upper and right lines, and draw a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, alpha=0.3, linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def line(axes: Axes, method: str, x: Sequence[float], y: Sequence[float], deviation: Sequence[float] = ()) -> None:
    """One method's line, with bars of one standard deviation where given."""
    look = style(method)
    bars = np.nan_to_num(np.asarray(deviation, float)) if len(deviation) else None
    axes.errorbar(x, y, yerr=bars, color=look.color, marker=look.marker, markersize=5, linewidth=1.8, capsize=2)


def label_ends(axes: Axes, ends: Sequence[tuple[str, str, float]], inches: float) -> None:
    """Write each line's name at its right end, moved apart where they would overlap.

    Args:
        axes: with all lines drawn, so that its limits are final.
        ends: (name, colour, y at the right end).
        inches: approximate height of the axes.
    """
    axes.set_ylim(axes.get_ylim())  # get_ylim computes the limits, and set_ylim fixes them
    # In fractions of the axes, so that a logarithmic scale needs no care of its own.
    to_fraction = axes.transData + axes.transAxes.inverted()
    ordered = sorted((float(to_fraction.transform((0, y))[1]), name, color) for name, color, y in ends)
    steps = 0.19 / inches * np.arange(len(ordered))
    places = isotonic_regression([y for y, _, _ in ordered] - steps).x + steps
    for (y, name, color), place in zip(ordered, places, strict=True):
        axes.annotate(
            name, xy=(1, y), xytext=(1.04, place), xycoords="axes fraction", textcoords="axes fraction", color=color,
            fontsize=10, va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)
            },
        )  # fmt: skip


def scale_for(axes: Axes, errors: Sequence[float]) -> bool:
    """Use a logarithmic scale where the lowest errors would run together otherwise; return whether it is used."""
    far = max(errors) > OFF_SCALE * min(errors) > 0
    if far:
        axes.set_yscale("log")
        low, high = min(errors) / 1.1, max(errors) * 1.1
        ticks = [tick for tick in LOG_TICKS if low <= tick <= high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.set_ylim(low, high)
    return far


def drawable(errors: Mapping[str, float]) -> tuple[list[str], str]:
    """The methods to draw, best first, and a sentence about those that are off the scale.

    Args:
        errors: a method's largest error on the picture.
    """
    ordered = sorted(errors, key=lambda method: errors[method])
    limit = OFF_SCALE * errors[ordered[0]]
    shown = [method for method in ordered if errors[method] <= limit]
    beyond = [f"{style(method).name} ({errors[method]:.2f})" for method in ordered if errors[method] > limit]
    return shown, f"Off the scale, with their largest error: {', '.join(beyond)}." if beyond else ""
