"""How far each night's data and lists are from what the deployed bundle was trained on."""

import pandas as pd

from ptupcdr_core.report.drawing import Picture, figure, finish, label_ends, plain
from ptupcdr_core.report.sections import Section
from ptupcdr_core.serving.drift import RETRAIN, STARS
from ptupcdr_core.serving.nights import nights
from ptupcdr_core.store.bounds import bounds
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

COLORS = {"count": "#0072B2", "stars": "#009E73", "unknown": "#E69F00", "scores": "#CC79A7", "overlap": "#999999"}
NAMES = {
    "count": "counts",
    "stars": "stars",
    "unknown": "unknown items",
    "scores": "best scores",
    "overlap": "new in lists",
}
TITLE = "How far the nights are from the training"


def drifted(home: Home, pair: str) -> Section:
    """The latest night beside its bounds, and all nights that are kept as a curve."""
    found = nights(Warehouse.from_environment(home.warehouse), pair)
    if found.empty:
        missing = "Nothing is deployed for this pair, or its lists were made before nights were compared."
        return Section("nights", TITLE, [missing])
    limits = bounds()["drift"]
    found["bound"] = found["kind"].map(limits).clip(lower=found["chance"].fillna(0.0))
    night = found["night"].max()
    latest = found[found["night"] == night]
    beyond = latest[latest["drift"].abs() > latest["bound"]]
    named = ", ".join(_plain(beyond, latest))
    caption = [
        f"Lists were last made on {night:%Y-%m-%d %H:%M} UTC. Each number is that night's, compared with the training "
        "of the bundle that serves; the best scores with that bundle's first night, and the lists with the night "
        "before.",
        f"Beyond its bound: {named}." if named else "Nothing is beyond its bound.",
    ]
    if beyond["kind"].isin(RETRAIN).any():
        caption.append(f"A training is due: `ptupcdr backfill {pair}`.")
    pictures = [picture(found)] if found["night"].nunique() > 1 else []
    return Section("nights", TITLE, caption, pictures, [("measure", _table(latest))])


def picture(found: pd.DataFrame) -> Picture:
    """By night, each kind's drift that is nearest to its bound, as a multiple of that bound."""
    drawn = figure(3.2)
    axes = drawn.subplots()
    axes.axhline(1, color="#bbbbbb", linewidth=0.8)
    share = found.assign(share=found["drift"].abs() / found["bound"]).dropna(subset="share")
    ends = []
    for kind, rows in share.groupby("kind", sort=False):
        worst = rows.groupby("night")["share"].max()
        color = COLORS[str(kind)]
        axes.plot(worst.index.to_numpy(), worst.to_numpy(), color=color, marker="o", markersize=3, linewidth=1.4)
        ends.append((NAMES[str(kind)], color, float(worst.iloc[-1])))
    axes.set(ylabel="drift / its bound", ylim=(0, max(1.1, 1.05 * float(share["share"].max()))))
    axes.tick_params(axis="x", labelrotation=30)
    label_ends(axes, ends, 2.4)
    plain(axes)
    return finish(drawn, "nights", "Drift of each night as a multiple of its bound, a line a kind of measure")


def _table(latest: pd.DataFrame) -> pd.DataFrame:
    def told(values: "pd.Series[float]") -> list[str]:
        written = (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" for value in values)
        return ["–" if number == "nan" else number for number in written]

    numbers = {name: told(latest[name]) for name in ("before", "tonight", "drift", "bound")}
    return pd.DataFrame({"measure": _plain(latest, latest), **numbers})


def _plain(rows: pd.DataFrame, latest: pd.DataFrame) -> list[str]:
    """The measures in words; where there are no stars, there are no ratings."""
    words = rows["measure"].str.replace("_", " ")
    return list(words if (latest["kind"] == STARS).any() else words.str.replace("ratings", "events"))
