"""A pair's benchmark as a file for other programs: cells as CSV or Parquet, means as LaTeX tables."""

from pathlib import Path
from typing import Literal

import pandas as pd

from ptupcdr_core.experiments.readout import read_benchmark, summarize_benchmark, summarize_lists
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced

Kind = Literal["csv", "latex", "parquet"]
_ENDINGS: dict[Kind, str] = {"csv": "csv", "latex": "tex", "parquet": "parquet"}


def export(home: Home, pair: str, kind: Kind) -> Path:
    """Write what a pair's benchmark measured.

    Args:
        home: has the benchmark.
        pair: its key.
        kind: csv or parquet, a row a cell and method; latex, tables of means over seeds (booktabs), the best, and what
            does not differ from it significantly, in bold.

    Returns:
        The file, in the home's folder ``benchmark``.

    Raises:
        WarehouseError: the pair has no benchmark.
        StorageError: the file cannot be written.
    """
    path = home.benchmark / f"{pair}.{_ENDINGS[kind]}"
    with replaced(path) as temporary:
        if kind == "latex":
            parts = latex(summarize_benchmark(home, pair)), latex_of_lists(summarize_lists(home, pair))
            temporary.write_text("\n".join(part for part in parts if part), encoding="utf-8")
        elif kind == "csv":
            read_cells(home, pair).to_csv(temporary, index=False)
        else:
            read_cells(home, pair).to_parquet(temporary, index=False)
    return path


def read_cells(home: Home, pair: str) -> pd.DataFrame:
    """What a pair's benchmark measured of predicted ratings and of lists: a row a cell and method, distinguished by
    ``mode``.

    Raises:
        WarehouseError: the pair has no benchmark.
    """
    tables = [read_benchmark(home, pair, name) for name in ("benchmark", "benchmark_lists")]
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def latex(summary: pd.DataFrame) -> str:
    """One table a recipe, β and base model, below each other in one ``tabular``; an empty text where there are none."""
    groups = summary.groupby(["recipe", "beta", "base_model"], sort=True)
    parts = {
        f"{_escaped(recipe)}, $\\beta = {beta:g}$, {_escaped(base_model)}": cells
        for (recipe, beta, base_model), cells in groups
    }
    return _tabular(parts, {"mae": "MAE", "rmse": "RMSE"})


def latex_of_lists(summary: pd.DataFrame) -> str:
    """One table a β, below each other in one ``tabular``; an empty text where there are none."""
    parts = {f"lists, $\\beta = {beta:g}$": cells for beta, cells in summary.groupby("beta", sort=True)}
    return _tabular(parts, {"ndcg_at_10": "NDCG@10", "ndcg_at_50": "NDCG@50", "coverage_at_10": "coverage@10"})


def _tabular(parts: dict[str, pd.DataFrame], metrics: dict[str, str]) -> str:
    if not parts:
        return ""
    columns = len(metrics) + 1
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}",
        r"\toprule",
        rf"method & {' & '.join(metrics.values())} \\",
    ]
    for about, cells in parts.items():
        told = f"{about}, {told_seeds(int(cells['seeds'].max()))}"
        lines += [r"\midrule", rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{told}}}}} \\"]
        lines += [
            " & ".join([_escaped(cell["method"]), *(_number(cell, metric) for metric in metrics)]) + r" \\"
            for cell in cells.to_dict("records")
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def told_seeds(count: int) -> str:
    """How a table's numbers were made; with one seed there is no deviation."""
    return "one seed" if count == 1 else f"mean ± standard deviation of {count} seeds"


def _number(cell: dict[str, object], metric: str) -> str:
    mean, deviation = cell[metric], cell[f"{metric}_std"]
    text = f"{mean:.4f}" if pd.isna(deviation) else f"{mean:.4f} \\pm {deviation:.4f}"
    return rf"$\mathbf{{{text}}}$" if cell.get(f"best_{metric}") else f"${text}$"


def _escaped(text: object) -> str:
    return str(text).replace("_", r"\_").replace("&", r"\&").replace("%", r"\%")
