"""People given by their source ratings, from a file or a table, matched with the source items that a model knows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import Reading
from ptupcdr_core.data.people import People, people
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.table_file import read_table
from ptupcdr_core.sql import statement
from ptupcdr_core.store.instances import instance

NEEDED, STARS, OPTIONAL = ("user_id", "item_id"), "rating", "timestamp"
_EXPECTED = {"user_id": "an id", "item_id": "an id", "timestamp": "seconds, or an ISO date"}


@dataclass(frozen=True)
class Newcomers:
    """R people, by user id.

    Args:
        user_ids: (R,) text.
        people: their ratings of source items that the model knows.
        known_items: (R,) how many of these there are.
        unknown_items: (R,) how many other items they rated; these are ignored.
    """

    user_ids: pa.Array
    people: People
    known_items: NDArray[np.int64]
    unknown_items: NDArray[np.int64]


def read_history_file(path: Path) -> pa.Table:
    """The source ratings in a CSV, Parquet or JSON-lines file: user_id, item_id and, if they are there, rating and
    timestamp.

    Raises:
        SourceError: the file is missing or damaged, of none of these kinds, or lacks a column.
    """
    table = read_table(path, (*NEEDED, STARS, OPTIONAL))
    _require(table, str(path), NEEDED)
    return table


def newcomers(
    ratings: pa.Table, items: pa.Array, reading: Reading, *, users: Iterable[str] = (), origin: str = "ratings"
) -> Newcomers:
    """Match people's ratings with known source items, and build histories as cleaning and splitting do for training.

    Args:
        ratings: columns user_id, item_id, rating (not read where the source has no stars) and, for the order of the
            history, timestamp (seconds or ISO dates); where it is missing, the table's order counts.
        items: (S+1,) ids of the source items by index, entry 0 the padding.
        reading: how the ratings are read.
        users: ids of people to include even if they have no row.
        origin: what messages call the ratings.

    Raises:
        SourceError: a column is missing, a value is invalid, or there is nobody.
    """
    _require(ratings, origin, (*NEEDED, STARS) if reading.scale else NEEDED)
    given = _as_texts(ratings)
    given = given.append_column("place", pa.array(np.arange(len(given))))
    variables = {
        "rated": reading.scale is not None,
        "low": reading.scale.low if reading.scale else None,
        "high": reading.scale.high if reading.scale else None,
        "positive_above": reading.positive_above,
        "history_length": reading.history_length,
    }
    known = pa.table({"item_id": items, "item_index": np.arange(len(items), dtype=np.int32)})
    with instance({"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        for name, value in variables.items():
            connection.execute(f"set variable {name} = ?", [value])
        connection.register("given", given)
        connection.register("known_source_items", known.slice(1))
        connection.register("asked", pa.table({"user_id": pa.array(list(users), pa.string())}))
        connection.execute(statement("people"))
        connection.execute(statement("typed"))
        connection.execute(statement("newcomers"))
        _refuse(connection, reading, origin)
        found = connection.sql("select * from newcomers order by person").to_arrow_table()
        columns = "person, item_index, rating, moment"
        rated = connection.execute(f"select {columns} from newcomer_ratings order by all").fetchnumpy()  # nosec B608 # ours
        entries = connection.execute("select * from newcomer_histories").fetchnumpy()
    if not len(found):
        raise SourceError(f"{origin}: no rows, so there is nobody to recommend to")
    return Newcomers(
        found["user_id"].combine_chunks(),
        people(len(found), reading.history_length, rated, entries),
        found["known_items"].to_numpy(),
        found["unknown_items"].to_numpy(),
    )


def _require(table: pa.Table, origin: str, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise SourceError(
            f"{origin}: no column {', '.join(missing)}; it has {', '.join(table.column_names)}, and needs "
            f"{', '.join(needed)} and, for the order of the history, {OPTIONAL}"
        )


def _as_texts(table: pa.Table) -> pa.Table:
    """The four columns as texts, missing ones as nulls."""
    nothing = pa.nulls(len(table), pa.string())
    columns = {name: table[name].cast(pa.string()) for name in table.column_names if name in (*NEEDED, STARS, OPTIONAL)}
    return pa.table({name: columns.get(name, nothing) for name in (*NEEDED, STARS, OPTIONAL)})


def _refuse(connection: duckdb.DuckDBPyConnection, reading: Reading, origin: str) -> None:
    for place, column, found in connection.execute("select place, fault, found from faulty").fetchall():
        expected = _EXPECTED.get(column) or _stars_of(reading)
        raise SourceError(f"{origin}: column {column}, row {place + 1}: expected {expected}, got {found!r}")


def _stars_of(reading: Reading) -> str:
    assert reading.scale is not None  # without stars, no rating is checked
    return f"a number from {reading.scale.low:g} to {reading.scale.high:g}, the scale of the source domain"
