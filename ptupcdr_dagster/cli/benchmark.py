"""A benchmark on the command line: the grid that the options ask for, and its printed tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from ptupcdr_core.catalog import Pair
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.evaluation.significance import METRICS, over_seeds
from ptupcdr_core.experiments.export import read_cells, told_seeds
from ptupcdr_core.experiments.grid import Grid, units_of
from ptupcdr_core.experiments.published import beside_published
from ptupcdr_core.experiments.readout import LIST_METRICS, read_benchmark, summarize_benchmark, summarize_lists
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.cli.options import separated, validated
from ptupcdr_dagster.cli.printing import print_columns, say
from ptupcdr_dagster.partitions import CATALOG


def chosen_grid(settings: Settings, options: Mapping[str, list[str]]) -> Grid:
    """The grid that the options ask for; ``all`` among the methods means every method.

    Raises:
        typer.BadParameter: a value is not allowed, or nothing is left to run.
    """
    given: dict[str, list[str] | None] = {name: separated(values) for name, values in options.items()}
    if "all" in (given["methods"] or ()):
        given["methods"] = None
    grid = validated(Grid, {name: values and list(dict.fromkeys(values)) for name, values in given.items()})
    try:
        units_of(grid, settings)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    return grid


def read_benchmarks(home: Home, pairs: Sequence[Pair]) -> pd.DataFrame:
    """The cells of several pairs, one row for each cell and method."""
    tables = [read_cells(home, pair.key) for pair in pairs]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def print_benchmark(console: Console, home: Home, pair: Pair) -> None:
    """Print means over seeds: a table for each recipe, β and base model, one of lists for each β; published numbers.

    The best of a table, and all that is not significantly different from it, is bold, or has a star where there is no
    bold type.
    """
    summary = summarize_benchmark(home, pair.key)
    for (recipe, beta, base_model), cells in summary.groupby(["recipe", "beta", "base_model"], sort=True):
        _print_means(console, f"{pair.key}: {recipe}, β = {beta:g}, {base_model}", cells, METRICS)
    for beta, cells in summarize_lists(home, pair.key).groupby("beta", sort=True):
        _print_means(console, f"{pair.key}: lists, β = {beta:g}", cells, LIST_METRICS)
    named = "Bold" if console.is_terminal else "With a star"
    say(console, f"{named}: the best, and all that are not significantly different from it.")
    if len(summary):
        _print_published(console, home, pair)


def _print_means(console: Console, about: str, cells: pd.DataFrame, metrics: Sequence[str]) -> None:
    bold = "[bold]{}[/]" if console.is_terminal else "{} *"
    say(console, f"[italic]{about}; {told_seeds(int(cells['seeds'].max()))}[/]", markup=True)
    table = Table(box=None, header_style="", pad_edge=False)
    table.add_column("method", overflow="ellipsis")
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    for cell in cells.to_dict("records"):
        table.add_row(str(cell["method"]), *[_measure(cell, metric, bold) for metric in metrics])
    console.print(table)


def _print_published(console: Console, home: Home, pair: Pair) -> None:
    source, target = CATALOG.domain(pair.source), CATALOG.domain(pair.target)
    frame = beside_published(source, target, over_seeds(read_benchmark(home, pair.key)))
    if frame.empty:
        return
    say(console, f"[italic]{pair.key}: published numbers and ours (mf)[/]", markup=True)
    cells = {
        name: ["" if pd.isna(value) else f"{value:g}" if name == "beta" else _plain(value) for value in frame[name]]
        for name in frame.columns
    }
    print_columns(console, cells, {name: frame[name].dtype.kind == "f" for name in frame.columns})


def _measure(cell: dict[str, Any], metric: str, bold: str) -> str:
    mean, deviation = cell[metric], cell[f"{metric}_std"]
    text = f"{mean:.4f}" if pd.isna(deviation) else f"{mean:.4f} ± {deviation:.4f}"
    return bold.format(text) if cell.get(f"best_{metric}") else f"{text}  "


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
