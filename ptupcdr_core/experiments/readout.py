"""Reading stored evaluations and benchmarks."""

import numpy as np
import pandas as pd

from ptupcdr_core.evaluation.labels import LABELS
from ptupcdr_core.evaluation.significance import METRICS, best_methods, compare, over_seeds, pair_errors, pair_lists
from ptupcdr_core.experiments.grid import ANY_BASE_MODEL
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

LIST_METRICS = ("ndcg_at_10", "ndcg_at_50", "coverage_at_10")
"""Columns of ``benchmark_lists`` that summaries have."""


def read_evaluation(home: Home, pair: str) -> pd.DataFrame:
    """The evaluation of a pair, one row a mode and method; ratings last, worst first.

    Raises:
        WarehouseError: it has not been evaluated.
    """
    with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair) as connection:
        return connection.execute("select * from cold_start_evaluation order by mode, rmse desc, ndcg_at_10").fetchdf()


def read_serving(home: Home, pair: str) -> pd.DataFrame:
    """What serves each mode of a pair since its last training, and the gate's decision on that training.

    Returns:
        One row a mode: mode, serves (new, kept from the champion, or nothing), gate (on, off), reason; no rows where
        nothing was deployed yet.

    Raises:
        WarehouseError: the table is damaged.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    if not warehouse.exists("deployed_model", pair):
        return pd.DataFrame(columns=["mode", "serves", "gate", "reason"])
    with warehouse.read("deployed_model", pair) as connection:
        return connection.execute("select mode, serves, gate, reason from deployed_model").fetchdf()


def read_benchmark(home: Home, pair: str, table: str = "benchmark") -> pd.DataFrame:
    """A table of a pair's benchmark: ``benchmark``, ``benchmark_slices``, ``benchmark_lists``, ``benchmark_rankings``.

    A benchmark that was made before lists were measured has no rows of these.

    Raises:
        WarehouseError: it has not been run.
    """
    with Warehouse.from_environment(home.warehouse).read("benchmark", pair) as connection:
        if not connection.execute("select 1 from duckdb_tables() where table_name = ?", [table]).fetchall():
            return pd.DataFrame(columns=[*LABELS, *LIST_METRICS, "seconds"])
        return connection.table(table).fetchdf()


def read_cell_errors(home: Home, pair: str, recipe: str, beta: float, base_model: str) -> pd.DataFrame:
    """The per-user errors of all methods of one cell, all seeds; baselines without a base model are in every cell.

    Raises:
        WarehouseError: the benchmark has not been run.
    """
    with Warehouse.from_environment(home.warehouse).read("benchmark", pair) as connection:
        return connection.execute(
            "select method, seed, user_id, ratings, absolute_error, squared_error from benchmark_errors "
            "where recipe = ? and beta = ? and base_model in (?, ?)",
            [recipe, beta, base_model, ANY_BASE_MODEL],
        ).fetchdf()


def compare_methods(home: Home, pair: str, recipe: str, beta: float, base_model: str) -> pd.DataFrame:
    """Any two methods of a cell compared; see ``significance.compare``."""
    return compare(pair_errors(read_cell_errors(home, pair, recipe, beta, base_model)))


def read_cell_rankings(home: Home, pair: str, beta: float) -> pd.DataFrame:
    """The lists' measures by user of all methods at one β, all seeds.

    Raises:
        WarehouseError: the benchmark has not been run.
    """
    with Warehouse.from_environment(home.warehouse).read("benchmark", pair) as connection:
        return connection.execute("select * from benchmark_rankings where beta = ?", [beta]).fetchdf()


def summarize_lists(home: Home, pair: str) -> pd.DataFrame:
    """Means over seeds of the lists' measures, one row a β and method, the best first.

    Returns:
        ``significance.over_seeds`` of ``LIST_METRICS``, with ``best_ndcg_at_10``: true for the best method of a β and
        those not significantly different from it. No rows where the benchmark left lists out.

    Raises:
        WarehouseError: the benchmark has not been run.
    """
    means = over_seeds(read_benchmark(home, pair, "benchmark_lists"), LIST_METRICS)
    best = {
        beta: best_methods(pair_lists(read_cell_rankings(home, pair, beta)), "ndcg_at_10")
        for beta in means["beta"].unique().tolist()
    }
    marks = [row.method in best[row.beta] for row in means.itertuples()]
    means = means.assign(best_ndcg_at_10=np.array(marks, bool))
    return means.sort_values(["beta", "ndcg_at_10"], ascending=[True, False], ignore_index=True)


def summarize_benchmark(home: Home, pair: str) -> pd.DataFrame:
    """Means over seeds, one row a cell and method, with marks of what is to be printed bold.

    Returns:
        ``significance.over_seeds`` with ``best_mae`` and ``best_rmse``: true for the best method of a cell and those
        not significantly different from it. Baselines without a base model are in every base model's cell. No rows
        where the benchmark left predicted ratings out.

    Raises:
        WarehouseError: the benchmark has not been run.
    """
    means = over_seeds(read_benchmark(home, pair))
    anywhere = means["base_model"] == ANY_BASE_MODEL
    cells = means[~anywhere] if not anywhere.all() else means
    tables = [cells.assign(**{f"best_{metric}": [] for metric in METRICS})] if cells.empty else []
    for (recipe, beta, kind), own in cells.groupby(["recipe", "beta", "base_model"], sort=True):
        shared = means[anywhere & (means["recipe"] == recipe) & (means["beta"] == beta)]
        table = pd.concat([own, shared.assign(base_model=kind)]).drop_duplicates("method")
        errors = pair_errors(read_cell_errors(home, pair, recipe, beta, kind))
        best = {f"best_{metric}": table["method"].isin(best_methods(errors, metric)) for metric in METRICS}
        tables.append(table.assign(**best).sort_values("rmse"))
    return pd.concat(tables, ignore_index=True)
