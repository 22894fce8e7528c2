"""Draws time and memory against size."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter


def draw(found: list[dict[str, float]], path: Path, title: str) -> None:
    """Draw processor seconds and megabytes against ratings, on logarithmic axes, each with a line of slope 1.

    Args:
        found: One entry per size: ``ratings``; ``seconds``, ``processor`` and ``peak_mb`` of the whole command; and
            ``stages_seconds`` and so on of its stages alone.
        path: The picture's file; its ending decides the format.
        title: The picture's title.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    curves = {"stages": "stages alone", "": "ptupcdr backfill, with checks and records"}
    for prefix, label in curves.items():
        key = f"{prefix}_" if prefix else ""
        for axes, what in ((time, "processor"), (memory, "peak_mb")):
            axes.plot([f["ratings"] for f in found], [f[key + what] for f in found], marker="o", label=label)
    for axes, what in ((time, "stages_processor"), (memory, "stages_peak_mb")):
        largest = found[-1]
        line = [largest[what] * f["ratings"] / largest["ratings"] for f in found]
        axes.plot([f["ratings"] for f in found], line, color="grey", linestyle=":", label="in proportion to ratings")
    time.set(title="processor seconds")
    memory.set(title="peak memory, MB")
    for axes in (time, memory):
        _finish(axes)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _finish(axes: Axes) -> None:
    plain = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.set(xscale="log", yscale="log", xlabel="ratings of both domains")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g} M"))
    axes.yaxis.set_major_formatter(plain)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
