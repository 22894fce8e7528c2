"""A pair of several sources compared with the pairs of each of them, on the test users that all have in common."""

from collections.abc import Mapping
from functools import reduce

import numpy as np
import pandas as pd

from ptupcdr_core.catalog import Pair
from ptupcdr_core.evaluation.significance import METRICS, Paired, PairedLists, compare
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

MEASURES: Mapping[Mode, tuple[str, ...]] = {"rating": METRICS, "ranking": PairedLists.metrics}
COLUMNS = [
    *("mode", "source", "users", "ratings"),
    *(f"{metric}{of}" for own in MEASURES.values() for metric in own for of in ("", "_more", "_p")),
]


def beside_single_sources(home: Home, pair: Pair) -> pd.DataFrame:
    """Compare a pair of several sources with the pairs of each, if evaluated with the same recipe, β and seed.

    Args:
        home: has the evaluations.
        pair: of several sources.

    Returns:
        ``compared`` for each mode; no rows where there is nothing to compare with.

    Raises:
        WarehouseError: the pair has not been evaluated.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    there = [one for one in pair.alone if warehouse.exists("cold_start_evaluation", one.key)]
    own = _labels(warehouse, pair)
    chosen = [pair, *(one for one in there if _labels(warehouse, one) == own)]
    tables = [compared(mode, {one.source: _of_users(warehouse, one, mode) for one in chosen}) for mode in MEASURES]
    return pd.concat([table for table in tables if len(table)] or [pd.DataFrame(columns=COLUMNS)], ignore_index=True)


def compared(mode: Mode, by_user: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The personal bridge's measures with all sources and with each alone, on the users and ratings that all have.

    Args:
        mode: what is measured.
        by_user: by source, all sources together first: user_id, ratings, and absolute_error and squared_error, or
            ndcg_at_10.

    Returns:
        One row a source: mode, source, users, ratings and, for each metric, its value; with ``_more``, how much larger
        it is than that of all sources together (for errors, positive where the source alone is worse); and with ``_p``,
        how probable such a difference would be by chance, paired by user and Holm-corrected over the sources. No rows
        where the sources have no user in common, or where there is only one.
    """
    frames = list(by_user.values())
    shared = reduce(lambda left, right: left.merge(right), (frame[["user_id", "ratings"]] for frame in frames))
    if shared.empty or len(frames) < 2:
        return pd.DataFrame(columns=COLUMNS)
    told = [frame.merge(shared).assign(method=source) for source, frame in by_user.items()]
    paired: Paired = MODES[mode].criterion.pair(pd.concat(told))
    together, *alone = by_user
    measured = paired.measures(np.ones((len(paired.counts), 1)))
    differences = compare(paired, [(source, together) for source in alone]).set_index(["first", "metric"])
    rows = []
    for source in by_user:
        row = {"mode": mode, "source": source, "users": len(shared)}
        row["ratings"] = int(shared["ratings"].sum())
        for metric in MEASURES[mode]:
            row[metric] = measured[metric][paired.methods.index(source), 0]
            if source != together:
                own = differences.loc[(source, metric)]
                row |= {f"{metric}_more": own["difference"], f"{metric}_p": own["p_holm"]}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def for_people(beside: pd.DataFrame) -> pd.DataFrame:
    """The rows of one mode as cells of text: values with four digits, differences with their sign, p with three."""
    measures = MEASURES[beside["mode"].iloc[0]]
    cells = beside[["source", "users", "ratings"]].copy()
    for metric in measures:
        cells[metric] = beside[metric].map("{:.4f}".format)
        cells[f"{metric}_more"] = beside[f"{metric}_more"].map("{:+.4f}".format, na_action="ignore").fillna("")
        cells[f"{metric}_p"] = beside[f"{metric}_p"].map(probability, na_action="ignore").fillna("")
    return cells


def probability(value: float) -> str:
    """A probability as text, for tables."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _labels(warehouse: Warehouse, pair: Pair) -> list[tuple[object, ...]]:
    with warehouse.read("cold_start_evaluation", pair.key) as connection:
        query = "select distinct recipe, beta, seed from cold_start_evaluation"
        return connection.execute(query).fetchall()


def _of_users(warehouse: Warehouse, pair: Pair, mode: Mode) -> pd.DataFrame:
    """The personal bridge's measures by user; no rows where the pair was not evaluated in the mode."""
    table, columns = MODES[mode].criterion.table, ["user_id", "ratings", *MODES[mode].criterion.columns]
    with warehouse.read("cold_start_evaluation", pair.key) as connection:
        if not connection.execute("select 1 from duckdb_tables() where table_name = ?", [table]).fetchone():
            return pd.DataFrame(columns=columns)
        query = f"select {', '.join(columns)} from {table} where method = 'ptupcdr'"  # nosec B608 # ours
        return connection.execute(query).fetchdf()
