"""Consecutive numbers over all rows, without a window that would put all rows into one task."""

from pyspark import StorageLevel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

_ROWS = (1 << 33) - 1
"""``monotonically_increasing_id`` has the partition above these bits, and the row in it within them."""


def ordered(rows: DataFrame, *order: str) -> DataFrame:
    """The rows, partition by partition in that order."""
    return rows.repartitionByRange(*order).sortWithinPartitions(*order)


def numbered(rows: DataFrame, *order: str, name: str, first: int) -> DataFrame:
    """The rows in order, with their numbers in a new column of bigint.

    Args:
        rows: to number; they are kept on the executors' disks, sorted, so that they are computed once.
        order: columns to sort by; no two rows may be equal in all of them.
        name: of the new column.
        first: number of the first row.
    """
    placed = ordered(rows, *order).withColumn("_at", F.monotonically_increasing_id())
    placed = placed.withColumn("_part", F.shiftright("_at", 33)).persist(StorageLevel.DISK_ONLY)
    before = Window.orderBy("_part").rowsBetween(Window.unboundedPreceding, -1)  # a row a partition
    counts = (
        placed.groupBy("_part").count().select("_part", F.coalesce(F.sum("count").over(before), F.lit(0)).alias("_n"))
    )
    number = (F.col("_at").bitwiseAND(_ROWS) + F.col("_n") + first).alias(name)
    return placed.join(F.broadcast(counts), "_part").select(*rows.columns, number)
