"""People by their source ratings, from a file or a table, against the source items that a model knows."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import Reading
from ptupcdr_core.data.people import People, people
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.verify import count_parquet, physical
from ptupcdr_core.sql import file_literal, statement

NEEDED, OPTIONAL = ("user_id", "item_id", "rating"), "timestamp"
_SCANS = {
    "csv": "read_csv({file}, all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"')",
    "parquet": "read_parquet({file})",
    "jsonl": "(select unnest(json_transform(json, '{keys}')) from read_ndjson_objects({file}))",
}
_KEYS = "{" + ", ".join(f'"{name}": "VARCHAR"' for name in (*NEEDED, OPTIONAL)) + "}"
_EXPECTED = {"user_id": "an id", "item_id": "an id", "timestamp": "seconds, or an ISO date"}


@dataclass(frozen=True)
class Newcomers:
    """R people, by user id.

    Args:
        user_ids: (R,) text.
        people: what they rated of the source items that the models know.
        known_items: (R,) how many those are.
        unknown_items: (R,) how many others they rated, which say nothing here.
    """

    user_ids: pa.Array
    people: People
    known_items: NDArray[np.int64]
    unknown_items: NDArray[np.int64]


def read_history_file(path: Path) -> pa.Table:
    """The source ratings in a CSV, Parquet or JSON-lines file: user_id, item_id, rating and, if it is there, timestamp.

    Raises:
        SourceError: the file is missing or damaged, of none of these kinds, or has not the columns.
    """
    kind = next((ending for ending in path.suffixes[-2:] if ending[1:] in _SCANS), "")[1:]
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    if not kind:
        raise SourceError(f"{path}: its name must end in {', '.join('.' + kind for kind in _SCANS)} (or that and .gz)")
    if kind == "parquet":
        count_parquet(path, [*NEEDED, OPTIONAL])
    else:
        physical(path, with_quotes=False)
    scan = _SCANS[kind].replace("{file}", file_literal(path)).replace("{keys}", _KEYS)
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        try:
            table: pa.Table = connection.sql(f"select * from {scan}").to_arrow_table()  # nosec B608 # quoted
        except duckdb.Error as error:
            raise SourceError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if kind == "jsonl":
        table = table.select([name for name in table.column_names if table[name].null_count < len(table)])
    return _with_columns(table, str(path))


def newcomers(
    ratings: pa.Table, items: pa.Array, reading: Reading, *, users: Iterable[str] = (), origin: str = "ratings"
) -> Newcomers:
    """Match people's ratings with known source items and lay them out, as cleaning and splitting do for training.

    Args:
        ratings: columns user_id, item_id, rating and, for the order of the history, timestamp (seconds or ISO dates);
            where it is missing, the table's order counts.
        items: (S+1,) ids of the source items by index, entry 0 the padding.
        reading: how the ratings are read.
        users: ids of people to be served who may have no row.
        origin: what messages call the ratings.

    Raises:
        SourceError: a column is missing, a value is not what it should be, or there is nobody.
    """
    given = _with_columns(ratings, origin)
    given = given.append_column("place", pa.array(np.arange(len(given))))
    variables = {
        "low": reading.scale.low,
        "high": reading.scale.high,
        "positive_above": reading.positive_above,
        "history_length": reading.history_length,
    }
    known = pa.table({"item_id": items, "item_index": np.arange(len(items), dtype=np.int32)})
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        for name, value in variables.items():
            connection.execute(f"set variable {name} = ?", [value])
        connection.register("given", given)
        connection.register("known_source_items", known.slice(1))
        connection.register("asked", pa.table({"user_id": pa.array(list(users), pa.string())}))
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


def _with_columns(table: pa.Table, origin: str) -> pa.Table:
    """The four columns as texts, a missing time as nulls."""
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        raise SourceError(
            f"{origin}: no column {', '.join(missing)}; it has {', '.join(table.column_names)}, and needs "
            f"{', '.join(NEEDED)} and, for the order of the history, {OPTIONAL}"
        )
    if OPTIONAL not in table.column_names:
        table = table.append_column(OPTIONAL, pa.nulls(len(table), pa.string()))
    return pa.table({name: table[name].cast(pa.string()) for name in (*NEEDED, OPTIONAL)})


def _refuse(connection: duckdb.DuckDBPyConnection, reading: Reading, origin: str) -> None:
    for place, column, found in connection.execute("select place, fault, found from faulty").fetchall():
        low, high = reading.scale.low, reading.scale.high
        expected = _EXPECTED.get(column, f"a number from {low:g} to {high:g}, the scale of the source domain")
        raise SourceError(f"{origin}: column {column}, row {place + 1}: expected {expected}, got {found!r}")
