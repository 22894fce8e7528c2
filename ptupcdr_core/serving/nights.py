"""The nights that a pair's lists were made in: the table ``drift``, kept beside the lists and continued every night.

The table ``first_night`` keeps how the scores of the bundle's first lists were spread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.data_summary import BINS
from ptupcdr_core.serving.drift import Measure, Scores, data_drift, list_overlap
from ptupcdr_core.serving.today import Today
from ptupcdr_core.sql import statement
from ptupcdr_core.store.warehouse import Warehouse, attach

ASSET, TABLE = "recommendations", "drift"
AT_ONCE = 1 << 16
"""Scores in memory at a time."""
_BEST = "from recommendations where rank = 1"
KEPT = 100
"""Number of latest nights that are kept."""


def note_night(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    pair: str,
    night: datetime,
    serving: tuple[Bundle, Today] | None,
) -> list[Measure]:
    """Make the tables of a night whose lists are written, with the nights before.

    Args:
        connection: to tonight's file of ``recommendations``, without an open transaction.
        warehouse: has last night's.
        pair: its key.
        night: when, UTC.
        serving: what made the lists, and today's people; None where nothing is deployed.
    """
    connection.execute(
        f"create table {TABLE} (pair varchar, night timestamp, bundle varchar, kind varchar, measure varchar, "
        "before double, tonight double, drift double, chance double)"
    )
    connection.execute(
        "create table first_night (bundle varchar, edges double[], shares double[], mean double, people bigint)"
    )
    with _last_night(connection, warehouse, pair) as known:
        if known:
            connection.execute(
                f"insert into {TABLE} from last_night.{TABLE} where night in "  # nosec B608 # ours
                f"(select distinct night from last_night.{TABLE} order by night desc limit {KEPT - 1})"
            )
        if serving is None:
            return []
        (bundle, today), digest = serving, serving[0].digest
        measures = [*data_drift(today), _scores(connection, digest, known=known)]
        if known:
            [(overlap,)] = connection.execute(statement("list_overlap")).fetchall()
            measures += list_overlap(overlap)
    rows = [{"pair": bundle.pair, "night": night, "bundle": digest, **vars(measure)} for measure in measures]
    connection.register("tonight", pa.Table.from_pylist(rows))
    connection.execute(f"insert into {TABLE} by name from tonight")
    connection.unregister("tonight")
    return measures


def nights(warehouse: Warehouse, pair: str) -> pd.DataFrame:
    """The table ``drift``, oldest night first; empty where it was never written."""
    if not warehouse.exists(ASSET, pair):
        return pd.DataFrame()
    with warehouse.read(ASSET, pair) as connection:
        if not _has(connection, "partition_file"):
            return pd.DataFrame()
        found: pd.DataFrame = connection.execute(f"from {TABLE} order by night, rowid").fetchdf()
    return found


def _scores(connection: duckdb.DuckDBPyConnection, digest: str, *, known: bool) -> Measure:
    query = "select bundle, edges, shares, mean, people from last_night.first_night where bundle = ?"
    kept = connection.execute(query, [digest]).fetchall() if known else []
    edges = kept[0][1] if kept else equally_filled(connection)
    blocks = (batch["score"] for batch in connection.sql(f"select score {_BEST}").to_arrow_reader(AT_ONCE))  # nosec B608 # ours
    tonight = Scores.of(digest, blocks, edges)
    first = Scores(*kept[0]) if kept else tonight
    connection.register("kept", pa.Table.from_pylist([vars(first)]))
    connection.execute("insert into first_night by name from kept")
    connection.unregister("kept")
    return first.beside(tonight)


def equally_filled(connection: duckdb.DuckDBPyConnection) -> list[float]:
    """(9,) edges between ten equally filled bins of the best scores, as ``np.quantile`` gives them; zeros without any.

    The scores are sorted where they are, since there may be very many.

    Args:
        connection: has the table ``recommendations``.
    """
    [(people,)] = connection.execute(f"select count(*) {_BEST}").fetchall()  # nosec B608 # ours
    at = np.arange(1, BINS) / BINS * max(people - 1, 0)
    below = np.floor(at).astype(int)
    placed = f"select score::double as score, row_number() over (order by score) - 1 as place {_BEST}"
    wanted = [*{*below.tolist(), *(below + 1).tolist()}]
    found: dict[int, float] = dict(
        connection.execute(
            f"select place, score from ({placed}) where place in (select unnest(?))",  # nosec B608 # ours
            [wanted],
        ).fetchall()
    )
    last = found.get(people - 1, 0.0)
    ends = ([found.get(place, last), found.get(place + 1, last)] for place in below.tolist())
    return [float(np.quantile(pair, part)) for pair, part in zip(ends, at - below, strict=True)]


@contextmanager
def _last_night(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, pair: str) -> Iterator[bool]:
    """Attach last night's file; yields whether there is one with the table."""
    if not warehouse.exists(ASSET, pair):
        yield False
        return
    try:
        attach(connection, warehouse.file(ASSET, pair), "last_night")
    except WarehouseError:  # it is being made again because it is damaged
        yield False
        return
    try:
        yield _has(connection, "last_night")
    finally:
        connection.execute("detach last_night")


def _has(connection: duckdb.DuckDBPyConnection, database: str) -> bool:
    query = "select 1 from duckdb_tables() where database_name = ? and table_name = ?"
    return bool(connection.execute(query, [database, TABLE]).fetchall())
