"""``raw_ratings`` made by Spark: see ``ptupcdr_core.sources.ingest``, whose tables these are, row for row."""

from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.ingest import ASSET, IngestReport, balanced
from ptupcdr_core.sources.locate import locate
from ptupcdr_core.sources.people import People
from ptupcdr_core.sources.staging import file_name
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_spark.file_rows import file_rows
from ptupcdr_spark.numbered import numbered, ordered
from ptupcdr_spark.parquet_store import ParquetStore, parquet_store

PLACE = ("file_index", "nth")


def ingest_domain(spark: SparkSession, domain: Domain, warehouse: Warehouse, fingerprint: str = "") -> IngestReport:
    """Read, clean and store one domain's ratings or events; see ``ptupcdr_core.sources.ingest.ingest_domain``.

    Each file is read by one task, so many files are read in parallel, but a single large one is not.

    Raises:
        SourceError: the files cannot be read as the catalog describes them, or nothing is left. The old tables stay.
    """
    files: list[Path | None] = [*locate(domain, Home(warehouse.root.parent).downloads)] or [None]
    names = pa.table({"file_index": range(len(files)), "source_file": [file_name(domain, path) for path in files]})
    about = {"fingerprint": fingerprint, "settings": domain.entry(), "read_by_others": ASSET}
    with parquet_store(spark, warehouse, ASSET, domain.name, **about) as store:
        rows = store.scratch("rows", file_rows(spark, domain, files, warehouse))
        _refuse_unusable(rows)
        good = rows.where("nth is not null and reason is null")
        if domain.stars:
            ranked = store.scratch("ranked", good.withColumn("age", F.row_number().over(_latest_first())))
            kept, superseded = _ratings(ranked.where("age = 1")), ranked.where("age > 1").drop("age")
        else:
            kept, superseded = _events(good), good.limit(0)
        placed = numbered(kept, *PLACE, name="place", first=0)
        store.keep("raw_ratings", placed.select(F.lit(domain.name).alias("domain"), *placed.drop(*PLACE).columns))
        placed.unpersist()
        rejected = rows.where("reason is not null").unionByName(superseded.withColumn("reason", F.lit("superseded")))
        store.keep("rejected_ratings", _shown(rejected, spark.createDataFrame(names), domain))
        _count(store, rows, superseded, names, domain)
        _count_people(store, good, domain)
        return balanced(store.connection, domain)


def _refuse_unusable(rows: DataFrame) -> None:
    failed = rows.where("error is not null").orderBy("file_index").select("error").first()
    if failed is not None:
        raise SourceError(failed.error)


def _latest_first() -> Window:
    latest = (F.col(name).desc() for name in PLACE)
    return Window.partitionBy("user_id", "item_id").orderBy(F.col("moment").desc_nulls_last(), *latest)


def _ratings(rows: DataFrame) -> DataFrame:
    return rows.select("user_id", "item_id", F.col("value").alias("rating"), F.col("moment").alias("timestamp"), *PLACE)


def _events(rows: DataFrame) -> DataFrame:
    """Repeats are one event that happened several times; it stands where it happened last."""
    grouped = rows.groupBy("user_id", "item_id").agg(
        F.count("*").cast("int").alias("events"),
        F.sum("value").alias("weight"),
        F.min("moment").alias("first_time"),
        F.max("moment").alias("timestamp"),
        F.max(F.struct(*PLACE)).alias("last"),
    )
    return grouped.select("*", "last.*").drop("last")


def _shown(rejected: DataFrame, names: DataFrame, domain: Domain) -> DataFrame:
    """Rows of ``rejected_ratings``, in the order of the files."""
    value = "rating" if domain.stars else "weight"
    columns = {"user": "user_id", "item": "item_id", "value": value, "time": "timestamp"}
    named = rejected.join(F.broadcast(names), "file_index")
    return ordered(named, "file_index", "source_row").select(
        F.lit(domain.name).alias("domain"),
        *(F.col(f"written_{written}").alias(name) for written, name in columns.items()),
        "reason",
        "source_file",
        "source_row",
    )


def _count(store: ParquetStore, rows: DataFrame, superseded: DataFrame, names: pa.Table, domain: Domain) -> None:
    """Make ``ingest_counts``, one row for each file; rows read are as the reading tasks counted them."""
    good = (F.col("nth").isNotNull() & F.col("reason").isNull()).cast("bigint")
    counts = rows.groupBy("file_index").agg(
        F.max("rows_read").alias("rows_read"),
        F.sum(good).alias("good"),
        F.sum(F.col("reason").isNotNull().cast("bigint")).alias("bad"),
    )
    late = superseded.groupBy("file_index").agg(F.count("*").alias("late"))
    told = counts.join(late, "file_index", "left").fillna(0, ["late"]).toArrow()
    for name, table in {"told": told, "names": names}.items():
        store.connection.register(name, table)
    store.connection.execute(
        "create temp table source_files as from names order by file_index; create table ingest_counts as "
        "select ?::varchar as domain, source_file, rows_read, good - late as kept, bad + late as rejected "
        "from told join names using (file_index) order by file_index",
        [domain.name],
    )
    for name in ("told", "names"):
        store.connection.unregister(name)


def _count_people(store: ParquetStore, good: DataFrame, domain: Domain) -> None:
    """Make ``ingest_people``: users by what the table of people says of their ids; without that table, no rows."""
    people = People.read(domain)
    listed = people is not None and len(people.person_of(domain.name)) > 0
    counted = good.groupBy(F.coalesce("is_person", F.lit("not_listed")).alias("is_person"))
    counts = (counted if listed else good.limit(0).groupBy("is_person")).agg(F.countDistinct("user_id").alias("users"))
    store.connection.register("told", counts.toArrow())
    store.connection.execute(
        "create table ingest_people as select ?::varchar as domain, is_person, users from told order by all",
        [domain.name],
    )
    store.connection.unregister("told")
