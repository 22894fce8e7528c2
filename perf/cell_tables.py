"""Results of many cells as Markdown tables: means and deviations over seeds, and differences paired by user."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ptupcdr_core.evaluation.significance import compare, pair_errors, pair_lists
from ptupcdr_core.settings import Mode

DEFAULT = "ptupcdr"
SHOWN: dict[Mode, tuple[str, ...]] = {
    "rating": ("rmse", "mae", "mae_of_mean", "log_loss"),
    "ranking": ("ndcg_at_10", "ndcg_at_50", "coverage_at_10"),
}
GROUPS = ["pair", "beta"]
ROUNDING = 1e-6
"""Smaller differences are rounding: the default then equals the other method, as no further part of it helped."""


def tables(mode: Mode, methods: pd.DataFrame, users: pd.DataFrame) -> Iterator[str]:
    """Each measure by pair, β and method; then the default compared with every other method, over all cells together.

    Args:
        mode: The mode of all cells.
        methods: One row for each cell and method.
        users: One row for each cell, method and user.
    """
    for measure in SHOWN[mode]:
        yield f"### {mode}: {measure}, mean ± deviation over {methods['seed'].nunique()} seeds\n\n" + _by_cell(
            methods, measure
        )
    yield f"### {mode}: {DEFAULT} less the other, {_cells(methods)} cells\n\n" + _against(mode, users)
    for pair, own in users.groupby("pair", sort=False) if users["pair"].nunique() > 1 else ():
        yield f"### {mode}: {DEFAULT} less the other, {pair}\n\n" + _against(mode, own)


def _cells(methods: pd.DataFrame) -> int:
    return len(methods.groupby([*GROUPS, "seed"]))


def _by_cell(methods: pd.DataFrame, measure: str) -> str:
    found = methods.groupby([*GROUPS, "method"], sort=False)[measure].agg(["mean", "std"]).fillna({"std": 0.0})
    shown = found["mean"].map("{:.4f}".format) + " ± " + found["std"].map("{:.4f}".format)
    return _markdown(shown.unstack("method")[methods["method"].unique()].reset_index())


def _against(mode: Mode, users: pd.DataFrame) -> str:
    """Differences paired by user; the measures of a user in several cells of a pair are added up."""
    own = users.assign(user_id=users["pair"] + "/" + users["user_id"].astype(str))
    errors = pair_errors(own) if mode == "rating" else pair_lists(own)
    others = [name for name in errors.methods if name != DEFAULT]
    found = compare(errors, [(DEFAULT, other) for other in others])
    found["users"] = len(errors.counts)
    found.loc[found["difference"].abs() < ROUNDING, "p_holm"] = 1.0
    level = {metric: values[:, 0] for metric, values in errors.measures(np.ones((len(errors.counts), 1))).items()}
    place = {name: at for at, name in enumerate(errors.methods)}
    found["percent"] = [
        100 * row.difference / level[row.metric][place[row.second]] for row in found.itertuples(index=False)
    ]
    columns = {
        "second": str, "metric": str, "users": str, "difference": "{:+.4f}".format, "percent": "{:+.2f}".format,
        "low": "{:+.4f}".format, "high": "{:+.4f}".format, "p_holm": "{:.1e}".format, "wilcoxon_holm": "{:.1e}".format,
    }  # fmt: skip
    return _markdown(found[[*columns]].apply(lambda column: column.map(columns[column.name])))


def _markdown(table: pd.DataFrame) -> str:
    lines = [
        [str(name) for name in table.columns],
        ["---"] * len(table.columns),
        *table.astype(str).to_numpy().tolist(),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
