"""Tables of results: how a stage writes them, and how embeddings are stored in a column."""

from collections.abc import Collection, Mapping

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from ptupcdr_core.arrays import Floats
from ptupcdr_core.settings import Settings
from ptupcdr_core.sql import identifier
from ptupcdr_core.store.warehouse import Warehouse, no_number


def write_tables(
    warehouse: Warehouse,
    asset: str,
    partition: str,
    tables: Mapping[str, pa.Table | pd.DataFrame],
    settings: Settings,
    fingerprint: str,
    *,
    absent: Collection[str] = (),
) -> None:
    """Write an asset partition's tables, replacing all of them in one step.

    Args:
        warehouse: takes them.
        asset: the asset's name.
        partition: a domain's name or a pair's key.
        tables: by name.
        settings: what they were made with.
        fingerprint: what they were made from.
        absent: columns in which a number may be missing, such as measures of another mode: NaN of a frame, null in the
            table. Anywhere else NaN means that a computation went wrong.

    Raises:
        WarehouseError: a number is NaN or infinite.
        StorageError: they cannot be written.
    """
    wrong = [f"{name}.{column}" for name, rows in tables.items() for column in _missing(rows) if column not in absent]
    if wrong:
        raise no_number(asset, partition, wrong)
    with warehouse.write(asset, partition, fingerprint=fingerprint, settings=settings.model_dump()) as connection:
        for name, rows in tables.items():
            create_table(connection, name, rows)


def create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table | pd.DataFrame) -> None:
    """Make a table of these rows, a frame's NaN as null."""
    connection.register("created_rows", rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows))
    connection.execute(f"create table {identifier(name)} as select * from created_rows")  # nosec B608 # quoted
    connection.unregister("created_rows")


def _missing(rows: pa.Table | pd.DataFrame) -> list[str]:
    """Columns of a frame with a missing number; none of an Arrow table, which distinguishes null from NaN."""
    if isinstance(rows, pa.Table):
        return []
    numbers = rows.select_dtypes("floating")
    return [str(column) for column in numbers.columns[numbers.isna().any()]]


def repeated(value: str, count: int) -> pa.Array:
    """A column of one text."""
    return pa.repeat(pa.scalar(value), count)


def embedding_column(vectors: Floats) -> pa.Array:
    """(R, E) float32 vectors as a column of ``FLOAT[E]``."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def embeddings_of(rows: pa.Table) -> Floats:
    """(R, E) float32 the column ``embedding`` of R rows, whose vectors are of one size."""
    flat = rows["embedding"].combine_chunks().flatten().to_numpy()
    return np.asarray(flat.reshape(len(rows), -1), np.float32)


def joined(tables: list[pa.Table]) -> pa.Table:
    """The rows of tables whose embeddings may be of different sizes, as lists of any length where there are several
    tables."""
    if len(tables) > 1:
        tables = [table.cast(_with_lists(table.schema)) for table in tables]
    return pa.concat_tables(tables)


def _with_lists(schema: pa.Schema) -> pa.Schema:
    place = schema.get_field_index("embedding")
    return schema.set(place, pa.field("embedding", pa.list_(pa.float32())))
