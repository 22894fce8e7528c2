"""A partition's tables as Parquet files that Spark writes, and its DuckDB file with views of them.

``<asset>/<partition>/<version>/<table>/*.parquet`` is written first; the DuckDB file is renamed into place last, so
that readers see the old version or the new one. A version that was not completed is removed.
"""

import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from pyspark.sql import DataFrame, SparkSession

from ptupcdr_core.sql import identifier, literal
from ptupcdr_core.store.owner import Owner
from ptupcdr_core.store.replacing import synced
from ptupcdr_core.store.warehouse import Warehouse

SCRATCH = "_scratch"


@dataclass(frozen=True)
class ParquetStore:
    """One version of a partition in the making.

    Args:
        spark: writes.
        connection: to the new DuckDB file.
        folder: of the version.
    """

    spark: SparkSession
    connection: duckdb.DuckDBPyConnection
    folder: Path

    def keep(self, name: str, rows: DataFrame, types: Mapping[str, str] | None = None) -> DataFrame:
        """Write a table in the order of its rows' partitions, show it in the DuckDB file, and read it.

        Args:
            name: of the table.
            rows: to write.
            types: DuckDB's types of columns for which Parquet, as Spark writes it, has none.
        """
        written = self._written(rows, self.folder / name)
        files = literal(f"{self.folder / name}/*.parquet")
        casts = ", ".join(f"{column}::{kind} as {column}" for column, kind in (types or {}).items())
        replaced = f"replace ({casts}) " if casts else ""
        view = f"create view {identifier(name)} as select * {replaced}from read_parquet({files})"  # nosec B608 # quoted
        self.connection.execute(view)
        return written

    def scratch(self, name: str, rows: DataFrame) -> DataFrame:
        """Write rows that are needed only while this version is made, so that they are computed once."""
        return self._written(rows, self.folder / SCRATCH / name)

    def _written(self, rows: DataFrame, place: Path) -> DataFrame:
        rows.write.option("compression", "zstd").parquet(str(place))
        return self.spark.read.schema(rows.schema).parquet(str(place))


def lent(spark: SparkSession, file: Path, connection: duckdb.DuckDBPyConnection, table: str) -> DataFrame:
    """A table of a DuckDB file, copied for Spark to read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"copy {identifier(table)} to {literal(file)} (format parquet)")
    return spark.read.parquet(str(file))


@contextmanager
def parquet_store(
    spark: SparkSession, warehouse: Warehouse, asset: str, partition: str, **about: Any
) -> Iterator[ParquetStore]:
    """Tables that take the partition's place when the block ends without an error.

    Args:
        spark: writes them.
        warehouse: takes them; its folder is one that all executors see at the same path.
        asset: the asset's name.
        partition: a domain's name or a pair's key.
        about: as for ``Warehouse.write``, which says what is raised.
    """
    folder = warehouse.folder(asset, partition).absolute() / f"{Owner.present()}-{uuid.uuid4().hex[:16]}"
    with warehouse.write(asset, partition, **about) as connection, ExitStack() as failing:
        failing.callback(shutil.rmtree, folder, ignore_errors=True)
        yield ParquetStore(spark, connection, folder)
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        synced(folder)
        failing.pop_all()
