"""Reliability: whether ratings occur as often as predicted."""

import numpy as np
import pandas as pd

from ptupcdr_core.report.drawing import Picture, figure, finish, label_ends, plain
from ptupcdr_core.report.facts import Facts
from ptupcdr_core.report.sections import Section

METHOD = "ptupcdr"
COLORS = ("#56B4E9", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#882255", "#999933", "#44AA99", "#000000")
FEWEST = 20
"""Groups with fewer ratings are not drawn: their share says little."""


def reliability(facts: Facts) -> Section:
    """Predicted probabilities beside the shares that came true."""
    title = "How reliable the probabilities are"
    table = facts.reliability
    if table.empty:
        missing = "This evaluation has no probabilities: its predictions are not calibrated, or it is older."
        return Section("reliability", title, [missing])
    own = table[table["method"] == METHOD]
    away = np.average((own["predicted"] - own["observed"]).abs(), weights=own["ratings"])
    caption = [
        "A predicted rating is a distribution, calibrated on validation users. Test ratings are grouped by the "
        "predicted probability that they reach so many stars. Each mark is a group: across, the prediction; up, how "
        "often it came true. On the thin line both are the same. "
        f"On average over all groups and levels they differ by {away:.3f}.",
    ]
    return Section("reliability", title, caption, [picture(own)])


def picture(table: pd.DataFrame) -> Picture:
    """Observed shares over predicted probabilities, a line a level, of the groups with enough ratings."""
    drawn = figure(4.4)
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8)
    ends = []
    enough = table[table["ratings"] >= FEWEST]
    for color, (level, rows) in zip(COLORS, enough.groupby("at_least", sort=True), strict=False):
        axes.plot(rows["predicted"], rows["observed"], color=color, marker="o", markersize=4, linewidth=1)
        ends.append((f"at least {level:.3g}", color, float(rows["observed"].iloc[-1])))
    axes.set(xlabel="predicted probability", ylabel="share of the ratings", xlim=(0, 1), ylim=(0, 1))
    if ends:
        label_ends(axes, ends, 3.6)
    plain(axes)
    return finish(drawn, "reliability", "Observed shares of ratings over predicted probabilities, by level")
