"""A pair's benchmark as a file for other programs: cells as CSV or Parquet, means as a LaTeX table."""

from pathlib import Path
from typing import Literal

import pandas as pd

from ptupcdr_core.evaluation.significance import METRICS
from ptupcdr_core.experiments.readout import read_benchmark, summarize_benchmark
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced

Kind = Literal["csv", "latex", "parquet"]
_ENDINGS: dict[Kind, str] = {"csv": "csv", "latex": "tex", "parquet": "parquet"}


def export(home: Home, pair: str, kind: Kind) -> Path:
    """Write what a pair's benchmark measured.

    Args:
        home: has the benchmark.
        pair: its key.
        kind: csv or parquet, a row a cell; latex, a table of means over seeds (booktabs), the best and what does not
            differ from it significantly in bold.

    Returns:
        The file, in the home's folder ``benchmark``.

    Raises:
        WarehouseError: the pair has no benchmark.
        StorageError: the file cannot be written.
    """
    path = home.benchmark / f"{pair}.{_ENDINGS[kind]}"
    with replaced(path) as temporary:
        if kind == "latex":
            temporary.write_text(latex(summarize_benchmark(home, pair)), encoding="utf-8")
        elif kind == "csv":
            read_benchmark(home, pair).to_csv(temporary, index=False)
        else:
            read_benchmark(home, pair).to_parquet(temporary, index=False)
    return path


def latex(summary: pd.DataFrame) -> str:
    """One table a recipe, β and base model, below each other in one ``tabular``."""
    lines = [r"\begin{tabular}{lrr}", r"\toprule", r"method & MAE & RMSE \\"]
    for (recipe, beta, base_model), cells in summary.groupby(["recipe", "beta", "base_model"], sort=True):
        about = (
            f"{_escaped(recipe)}, $\\beta = {beta:g}$, {_escaped(base_model)}, {told_seeds(int(cells['seeds'].max()))}"
        )
        lines += [r"\midrule", rf"\multicolumn{{3}}{{l}}{{\emph{{{about}}}}} \\"]
        for cell in cells.to_dict("records"):
            lines.append(
                " & ".join([_escaped(cell["method"]), *(_number(cell, metric) for metric in METRICS)]) + r" \\"
            )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def told_seeds(count: int) -> str:
    """What a table's numbers are: of one seed there is no deviation."""
    return "one seed" if count == 1 else f"mean ± standard deviation of {count} seeds"


def _number(cell: dict[str, object], metric: str) -> str:
    mean, deviation = cell[metric], cell[f"{metric}_std"]
    text = f"{mean:.4f}" if pd.isna(deviation) else f"{mean:.4f} \\pm {deviation:.4f}"
    return rf"$\mathbf{{{text}}}$" if cell[f"best_{metric}"] else f"${text}$"


def _escaped(text: object) -> str:
    return str(text).replace("_", r"\_").replace("&", r"\&").replace("%", r"\%")
