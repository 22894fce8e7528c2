"""``domain_splits`` made by Spark: see ``ptupcdr_core.data.splits`` and its statements, whose tables these are, row for
row."""

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.splits import ASSET, RATINGS, SplitReport, split_variables, summarized
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_spark.given import given
from ptupcdr_spark.numbered import numbered, ordered
from ptupcdr_spark.parquet_store import ParquetStore, parquet_store
from ptupcdr_spark.vocabulary import Vocabulary, digest


def build_split(
    spark: SparkSession,
    pair: Pair,
    source: Domain,
    target: Domain,
    warehouse: Warehouse,
    settings: Settings,
    fingerprint: str = "",
) -> SplitReport:
    """Divide a pair's users and ratings; see ``ptupcdr_core.data.splits.build_split``.

    Raises:
        WarehouseError: one of the two domains was not ingested yet.
        SplitError: there is nothing to learn from or nothing to measure with.
    """
    for domain in (*source.each, target):
        warehouse.require(RATINGS, domain.name)
    decided = settings.deciding("split")
    with parquet_store(spark, warehouse, ASSET, pair.key, fingerprint=fingerprint, settings=decided) as store:
        chosen = split_variables(pair, source, target, settings)
        for name, value in chosen.items():
            store.connection.execute(f"set variable {name} = ?", [value])
        _Split(store, pair.key, settings, chosen["positive_above"]).make(
            given(store, warehouse, source.name), given(store, warehouse, target.name)
        )
        return summarized(store.connection, pair, settings)


class _Split:
    """The tables of one pair in the making."""

    def __init__(self, store: ParquetStore, pair: str, settings: Settings, positive_above: object) -> None:
        self._store, self._pair, self._settings = store, F.lit(pair).alias("pair"), settings
        self._positive_above = positive_above

    def make(self, source: DataFrame, target: DataFrame) -> None:
        users = self._users(source, target)
        source_items = self._items("split_source_items", source.select("item_id", "domain").distinct(), "domain")
        target_items = self._items("split_target_items", target.select("item_id").distinct())
        rows = self._store.scratch("source_rows", _indexed(source, users, source_items))
        self._keep("split_source_ratings", rows, "user_index", "item_index", "rating", "timestamp")
        part = F.when(F.col("cohort").isin("test", "validation"), F.col("cohort")).otherwise("train").alias("part")
        rated = _indexed(target, users, target_items).withColumn("part", part)
        self._keep("split_target_ratings", rated, "user_index", "item_index", "rating", "timestamp", "part", "place")
        histories = ordered(self._histories(rows), "user_index", "position")
        columns = ("user_index", "position", "item_index", "rating")
        self._store.keep("split_histories", histories.select(self._pair, *columns))
        self._total(source, target, {"user": users, "source": source_items, "target": target_items})

    def _users(self, source: DataFrame, target: DataFrame) -> DataFrame:
        known = (
            source.select("user_id", F.lit(True).alias("in_source"), F.lit(False).alias("in_target"))
            .unionByName(target.select("user_id", F.lit(False).alias("in_source"), F.lit(True).alias("in_target")))
            .groupBy("user_id")
            .agg(F.bool_or("in_source").alias("in_source"), F.bool_or("in_target").alias("in_target"))
        )
        seed, beta = self._settings.seed, self._settings.beta
        cohort = (
            F.when(~F.col("in_target"), "cold")
            .when(~F.col("in_source"), "target_only")
            .when(_unit(f"{seed}:") < beta, "test")
            .when(_unit(f"{seed}:validation:") < self._settings.validation_fraction, "validation")
            .otherwise("bridge")
        )
        return self._vocabulary("split_users", known.withColumn("cohort", cohort), "user", "cohort")

    def _items(self, name: str, items: DataFrame, *beside: str) -> DataFrame:
        return self._vocabulary(name, items, "item", *beside)

    def _vocabulary(self, name: str, ids: DataFrame, kind: str, *beside: str) -> DataFrame:
        """Keep ids numbered from 1 in the order of their bytes."""
        index = f"{kind}_index"
        placed = numbered(ids, f"{kind}_id", name=index, first=1)
        number = F.col(index).cast("int").alias(index)
        kept = self._store.keep(name, placed.select(self._pair, number, f"{kind}_id", *beside))
        placed.unpersist()
        return kept

    def _keep(self, name: str, rows: DataFrame, *columns: str) -> None:
        self._store.keep(name, ordered(rows, "user_index", "item_index").select(self._pair, *columns))

    def _histories(self, rows: DataFrame) -> DataFrame:
        """A person's last positive items: see ``last_positive`` in ``ptupcdr_core/sql/people.sql``."""
        above = self._positive_above
        positive = rows if above is None else rows.where(F.coalesce(F.col("rating") > above, F.lit(True)))
        own = Window.partitionBy("user_index")
        untimed = F.when(F.col("timestamp").isNull(), F.col("place"))
        latest = own.orderBy(
            F.col("timestamp").desc_nulls_last(), untimed.desc_nulls_last(), F.col("item_index").desc()
        )
        last = positive.withColumn("age", F.row_number().over(latest))
        last = last.where(F.col("age") <= self._settings.history_length)
        return last.withColumn("position", (F.max("age").over(own) - F.col("age")).cast("int"))

    def _total(self, source: DataFrame, target: DataFrame, vocabularies: dict[str, DataFrame]) -> None:
        """Make ``split_totals``: see ``ptupcdr_core/sql/split.sql``."""
        items = vocabularies["target"].select(F.col("item_id").alias("own_id"))
        shared_items = source.select("own_id").distinct().join(items, "own_id").count()
        both = source.join(items, "own_id", "left_semi").select("user_id", F.col("own_id").alias("item_id"))
        shared_ratings = both.join(target, ["user_id", "item_id"], "left_semi").count()
        digested = digest({name: Vocabulary(ids, *ids.columns[1:3]) for name, ids in vocabularies.items()})
        self._store.connection.execute(
            "create temp table split_totals as select ?::bigint as shared_item_ids, ?::bigint as shared_ratings, "
            "?::varchar as vocabulary",
            [shared_items, shared_ratings, digested],
        )


def _unit(prefix: str) -> Column:
    """A user's place on [0, 1): see ``unit`` in ``ptupcdr_core/sql/people.sql``."""
    digits = F.substring(F.md5(F.concat(F.lit(prefix), F.col("user_id"))), 1, 13)
    return F.conv(digits, 16, 10).cast("bigint").cast("double") / F.lit(float(1 << 52))


def _indexed(ratings: DataFrame, users: DataFrame, items: DataFrame) -> DataFrame:
    """Ratings with the indices of their users and items, and their users' cohorts."""
    rated = ratings.join(users.select("user_id", "user_index", "cohort"), "user_id")
    rated = rated.join(items.select("item_id", "item_index"), "item_id")
    return rated.select(
        "user_index", "item_index", F.col("rating").cast("float").alias("rating"), "timestamp", "place", "cohort"
    )
