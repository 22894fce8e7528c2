"""Pictures of errors: methods with their intervals, over β, by epoch, for whom, and after the first known ratings."""

from collections.abc import Sequence

import pandas as pd

from ptupcdr_core.evaluation.significance import METRICS, over_seeds
from ptupcdr_core.experiments.grid import ANY_BASE_MODEL
from ptupcdr_core.report.drawing import (
    LOGARITHMIC,
    Picture,
    drawable,
    figure,
    finish,
    label_ends,
    line,
    plain,
    scale_for,
)
from ptupcdr_core.report.facts import Curve
from ptupcdr_core.report.style import style

Drawn = tuple[list[Picture], str]
"""Pictures, and a text to add to their caption."""

SLICES = {
    "history_length": "liked source items of the person",
    "target_ratings": "target ratings of the person that are predicted",
    "item_popularity": "training ratings of the target item",
}
CURVES = (
    ("source_model", "training_loss", "source model: training loss"),
    ("target_model", "training_loss", "target model: training loss"),
    ("meta_network", "training_loss", "bridges: training loss"),
    ("meta_network", "validation_rmse", "bridges: RMSE on validation users"),
)


def intervals(scores: pd.DataFrame) -> Drawn:
    """MAE and RMSE of every method with their 95 % intervals, best first."""
    drawn = figure(0.36 * len(scores) + 1.1)
    notes = []
    for axes, metric in zip(drawn.subplots(1, 2, sharey=True), METRICS, strict=True):
        values = dict(zip(scores["method"], scores[metric], strict=True))
        shown, note = drawable(values)
        edge = max(scores.loc[scores["method"].isin(shown), f"{metric}_high"])
        for place, row in enumerate(scores.to_dict("records")):
            look, value = style(row["method"]), row[metric]
            if row["method"] in shown:
                axes.plot([row[f"{metric}_low"], row[f"{metric}_high"]], [place, place], color=look.color, linewidth=2)
                axes.plot(value, place, color=look.color, marker=look.marker, markersize=7)
                axes.annotate(f"{value:.3f}", (row[f"{metric}_high"], place), (5, 0), textcoords="offset points",
                              va="center", fontsize=10)  # fmt: skip
            else:
                axes.annotate(f"{value:.2f} →", (edge, place), ha="center", va="center", fontsize=10, color=look.color)
        axes.margins(x=0.22)
        axes.set(xlabel=f"{metric.upper()} in stars (less is better)")
        plain(axes, grid="x")
        if note:
            notes.append(f"{metric.upper()}: {note}")
    axes.set_yticks(range(len(scores)), [style(method).name for method in scores["method"]])
    axes.invert_yaxis()
    return [finish(drawn, "methods_with_intervals", "Errors of all methods with 95 % intervals")], " ".join(notes)


def beta_curves(benchmark: pd.DataFrame) -> Drawn:
    """Errors over β, one picture a recipe; the mean over seeds with a bar of one standard deviation."""
    means = over_seeds(benchmark)
    pictures, far = [], False
    for recipe, own in means.groupby("recipe", sort=True):
        base = sorted(set(own["base_model"]) - {ANY_BASE_MODEL}, key=lambda name: (name != "mf", name))[:1]
        table = own[own["base_model"].isin([ANY_BASE_MODEL, *base])]
        drawn = figure(6.4)
        for axes, metric in zip(drawn.subplots(2, 1, sharex=True), METRICS, strict=True):
            ends = []
            for method in sorted(set(table["method"])):
                rows = table[table["method"] == method].sort_values("beta")
                line(axes, method, rows["beta"], rows[metric], rows[f"{metric}_std"])
                ends.append((style(method).name, style(method).color, float(rows[metric].iloc[-1])))
            far |= scale_for(axes, table[metric])
            label_ends(axes, ends, 2.6)
            axes.set(ylabel=f"{metric.upper()} in stars", xticks=sorted(set(table["beta"])))
            plain(axes)
        axes.set(xlabel="β, fraction of overlapping people held out")
        kind = f", base model {base[0]}" if base else ""
        drawn.suptitle(f"recipe {recipe}{kind}", x=0.02, ha="left", fontsize=11)
        pictures.append(finish(drawn, f"beta_curves_{recipe}", f"Errors over β in the recipe {recipe}"))
    return pictures, LOGARITHMIC * far


def learning_curves(curves: dict[str, dict[str, Curve]], chosen_epoch: int | None) -> list[Picture]:
    """Training losses and validation errors by epoch; a ring marks the epoch that was kept."""
    panels = [
        (title, found)
        for asset, quantity, title in CURVES
        if (found := {n: c for n, c in curves.get(asset, {}).items() if n.endswith(quantity)})
    ]
    if not panels:
        return []
    drawn = figure(2.5 * len(panels))
    for axes, (title, found) in zip(drawn.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        ends = []
        for name, curve in found.items():
            epochs, values = [epoch for epoch, _ in curve], [value for _, value in curve]
            method = name.split("_", 1)[0]
            look = style(method if method in ("emcdr", "ptupcdr") else "source_offset")
            axes.plot(epochs, values, color=look.color, marker=look.marker, markersize=4)
            ends.append((look.name if method in ("emcdr", "ptupcdr") else "", look.color, values[-1]))
            if method == "ptupcdr" and chosen_epoch in epochs:
                at = epochs.index(chosen_epoch)
                axes.plot(epochs[at], values[at], "o", markersize=13, markerfacecolor="none", color=look.color)
        axes.margins(y=0.15)
        label_ends(axes, [end for end in ends if end[0]], 1.7)
        axes.set_title(title, loc="left")
        axes.set(xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain(axes)
    return [finish(drawn, "learning_curves", "Training loss and validation error by epoch")]


def slices(table: pd.DataFrame, methods: Sequence[str]) -> Drawn:
    """MAE by history length, number of target ratings and item popularity, with the number of ratings below."""
    names = [name for name in SLICES if name in set(table["slice"])]
    drawn = figure(3.0 * len(names))
    own = table[table["method"].isin(methods)]
    far = False
    for axes, name in zip(drawn.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        rows = own[own["slice"] == name].sort_values("at_least")
        buckets = rows.drop_duplicates("at_least")
        ends = []
        for method in methods:
            values = rows.loc[rows["method"] == method, "mae"].to_numpy()
            line(axes, method, range(len(values)), values)
            ends.append((style(method).name, style(method).color, float(values[-1])))
        axes.set_xticks(range(len(buckets)), [bucket_label(row) for row in buckets.to_dict("records")], fontsize=9)
        axes.margins(x=0.08, y=0.1)
        far |= scale_for(axes, rows["mae"])
        label_ends(axes, ends, 1.9)
        axes.set(xlabel=SLICES[name], ylabel="MAE in stars")
        plain(axes)
    return [
        finish(drawn, "errors_by_slice", "MAE by history length, target ratings and item popularity")
    ], LOGARITHMIC * far


def bucket_label(row: dict[str, object]) -> str:
    """A bucket's numbers and how many ratings are in it."""
    low, high = row["at_least"], row["at_most"]
    span = f"{low}+" if high is pd.NA or high is None else f"{low}" if low == high else f"{low}–{high}"
    return f"{span}\nn={row['ratings']:,}"


def warm_start(table: pd.DataFrame) -> Drawn:
    """Errors by the number of known target ratings; the last, ``half``, is half of them."""
    table = table.assign(label=table["known_ratings"].astype(str))
    order = sorted(
        set(table["label"]), key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0)
    )
    drawn, far = figure(6.4), False
    for axes, metric in zip(drawn.subplots(2, 1, sharex=True), METRICS, strict=True):
        ends = []
        for method in sorted(set(table["method"])):
            rows = table[table["method"] == method].groupby("label")[metric].mean()
            places = [place for place, label in enumerate(order) if label in rows.index]
            values = [float(rows[order[place]]) for place in places]
            line(axes, method, places, values)
            ends.append((style(method).name, style(method).color, values[-1]))
        axes.set_xticks(range(len(order)), order)
        far |= scale_for(axes, table[metric])
        label_ends(axes, ends, 2.6)
        axes.set(ylabel=f"{metric.upper()} in stars")
        plain(axes)
    axes.set(xlabel="target ratings of the person that are known")
    return [finish(drawn, "warm_start", "Errors by the number of known target ratings")], LOGARITHMIC * far
