"""Reading stored evaluations and benchmarks."""

from functools import reduce

import numpy as np
import pandas as pd

from ptupcdr_core.catalog import Pair
from ptupcdr_core.evaluation.significance import (
    METRICS,
    Paired,
    PairedLists,
    best_methods,
    compare,
    over_seeds,
    pair_errors,
    pair_lists,
)
from ptupcdr_core.experiments.grid import ANY_BASE_MODEL
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


def read_evaluation(home: Home, pair: str) -> pd.DataFrame:
    """The evaluation of a pair, one row a mode and method; ratings last, worst first.

    Raises:
        WarehouseError: it has not been evaluated.
    """
    with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair) as connection:
        return connection.execute("select * from cold_start_evaluation order by mode, rmse desc, ndcg_at_10").fetchdf()


def beside_single_sources(home: Home, pair: Pair) -> pd.DataFrame:
    """A pair of several sources beside the pairs of each of them, on the test users that all have measured.

    Args:
        home: has the evaluations.
        pair: of several sources.

    Returns:
        One row a mode and source: mode, source, users, ratings, then mae and rmse, or ndcg_at_10, of the personal
        bridge. Pairs that were not evaluated, or with another recipe, β or seed, are left out; no rows where none is
        left.

    Raises:
        WarehouseError: the pair has not been evaluated.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    singles = [Pair(source=source, target=pair.target) for source in pair.sources if len(pair.sources) > 1]
    labels = {one.key: _labels(home, one.key) for one in singles if warehouse.exists("cold_start_evaluation", one.key)}
    own = _labels(home, pair.key)
    sources = [pair, *(one for one in singles if labels.get(one.key) == own)]
    rows: list[dict[str, object]] = []
    for table, columns, lay_out in _BY_USER if len(sources) > 1 else ():
        told = [_of_users(home, one, table, columns) for one in sources]
        shared = reduce(lambda left, right: left.merge(right), (one[["user_id", "ratings"]] for one in told))
        if shared.empty:
            continue
        paired: Paired = lay_out(pd.concat([one.merge(shared) for one in told]))
        for place, source in enumerate(paired.methods):
            measures = {name: values[place, 0] for name, values in paired.measures(np.ones((len(shared), 1))).items()}
            mode = "ranking" if isinstance(paired, PairedLists) else "rating"
            counts = {"users": len(shared), "ratings": int(shared["ratings"].sum())}
            rows.append({"mode": mode, "source": source, **counts, **measures})
    return pd.DataFrame(rows, columns=["mode", "source", "users", "ratings", *METRICS, "ndcg_at_10"])


LIST_METRICS = ("ndcg_at_10", "ndcg_at_50", "coverage_at_10")
"""Of ``benchmark_lists``, what summaries have."""
_BY_USER = (
    ("cold_start_errors", ("absolute_error", "squared_error"), pair_errors),
    ("cold_start_rankings", ("ndcg_at_10",), pair_lists),
)


def _labels(home: Home, pair: str) -> list[tuple[object, ...]]:
    with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair) as connection:
        return connection.execute("select distinct recipe, beta, seed from cold_start_evaluation").fetchall()


def _of_users(home: Home, pair: Pair, table: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """The personal bridge's measures by user, under the name of the source; no rows without such a table."""
    with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair.key) as connection:
        if not connection.execute("select 1 from duckdb_tables() where table_name = ?", [table]).fetchone():
            return pd.DataFrame(columns=["method", "user_id", "ratings", *columns])
        told = ", ".join(("user_id", "ratings", *columns))
        return connection.execute(
            f"select ? as method, {told} from {table} where method = 'ptupcdr'",  # nosec B608 # ours
            [pair.source],
        ).fetchdf()


def read_serving(home: Home, pair: str) -> pd.DataFrame:
    """What serves each mode of a pair since its last training, and what the gate said of that training.

    Returns:
        One row a mode: mode, serves (new, kept from the champion, or nothing), gate (on, off), reason; none where
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

    Raises:
        WarehouseError: it has not been run.
    """
    with Warehouse.from_environment(home.warehouse).read("benchmark", pair) as connection:
        return connection.table(table).fetchdf()


def read_cell_errors(home: Home, pair: str, recipe: str, beta: float, base_model: str) -> pd.DataFrame:
    """The per-user errors of all methods of one cell, all seeds; baselines without a base model belong to every cell.

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
    """Means over seeds, one row a cell and method, with what is to be printed bold.

    Returns:
        ``significance.over_seeds`` with ``best_mae`` and ``best_rmse``: true for the best method of a cell and those
        not significantly different from it. Baselines without a base model stand in every base model's cell. No rows
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
