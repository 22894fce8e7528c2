"""Tables that Spark reads, whichever engine has made them: raw ratings, and others of a partition."""

import re
from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from ptupcdr_core.catalog import TOGETHER
from ptupcdr_core.data.splits import RATINGS
from ptupcdr_core.store.database import view_bodies
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_spark.parquet_store import SCRATCH, ParquetStore, lent

_FILES = re.compile(r"read_parquet\('(?P<folder>(?:[^']|'')*)/\*\.parquet'\)")


def given(store: ParquetStore, warehouse: Warehouse, domain: str) -> DataFrame:
    """The ratings of a domain, or of several that are one together: see ``ptupcdr_core.data.splits.give``.

    Args:
        store: keeps copies for Spark of tables that are not Parquet yet.
        warehouse: has the ratings.
        domain: its name, or names joined by ``+``.
    """
    parts = domain.split(TOGETHER)
    return reduce(DataFrame.unionByName, (_part(store, warehouse, part, len(parts) > 1) for part in parts))


def _part(store: ParquetStore, warehouse: Warehouse, domain: str, together: bool) -> DataFrame:
    rows = table_given(store.spark, warehouse, RATINGS, domain, RATINGS, store.folder / SCRATCH)
    rating = F.col("rating") if "rating" in rows.columns else F.lit(None).cast("double").alias("rating")
    item, place = F.col("item_id"), F.col("place")
    if together:
        last = Window.partitionBy("user_id").orderBy(F.col("place").desc())
        item, place = F.concat(F.lit(f"{domain}:"), item), -F.row_number().over(last).cast("bigint")
    return rows.select(
        "user_id",
        item.alias("item_id"),
        rating,
        "timestamp",
        place.alias("place"),
        F.col("item_id").alias("own_id"),
        F.lit(domain).alias("domain"),
    )


def table_given(
    spark: SparkSession, warehouse: Warehouse, asset: str, partition: str, table: str, scratch: Path
) -> DataFrame:
    """A partition's table, whichever engine has made it.

    Args:
        spark: reads it.
        warehouse: has it.
        asset: the asset's name.
        partition: a domain's name or a pair's key.
        table: its name.
        scratch: a folder for a copy of a table that is not Parquet yet; it has to stay until the rows were read.
    """
    with warehouse.read(asset, partition) as connection:
        files = _FILES.search(view_bodies(connection).get(table, ""))
        if files is None:
            return lent(spark, scratch / f"{table}_of_{partition}.parquet", connection, table)
    return spark.read.parquet(files["folder"].replace("''", "'"))
