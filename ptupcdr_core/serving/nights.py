"""The nights that a pair's lists were made in: the table ``drift``, kept beside the lists and continued every night.

The table ``first_night`` keeps how the scores of the bundle's first lists were spread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import duckdb
import pandas as pd
import pyarrow as pa

from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.drift import Measure, Scores, data_drift, list_overlap
from ptupcdr_core.serving.today import Today
from ptupcdr_core.sql import statement
from ptupcdr_core.store.warehouse import Warehouse, attach

ASSET, TABLE = "recommendations", "drift"
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
    scores = connection.execute("select score from recommendations where rank = 1").fetchnumpy()["score"]
    query = "select bundle, edges, shares, mean, people from last_night.first_night where bundle = ?"
    kept = connection.execute(query, [digest]).fetchall() if known else []
    first = Scores(*kept[0]) if kept else Scores.of(digest, scores)
    connection.register("kept", pa.Table.from_pylist([vars(first)]))
    connection.execute("insert into first_night by name from kept")
    connection.unregister("kept")
    return first.beside(Scores.of(digest, scores, first.edges))


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
