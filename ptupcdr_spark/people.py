"""People served past one machine, a block of them in each task: bridged by a bundle, and given lists with reasons.

Shapes: R people.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numba
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ptupcdr_core.data.pair_data import Side, last_user
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import CANDIDATE, bundle_file
from ptupcdr_core.serving.foretelling import COLUMNS
from ptupcdr_core.serving.today import Today
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.items import Items
from ptupcdr_core.sql import statement
from ptupcdr_core.stages import embeddings, recommendations
from ptupcdr_core.stages.recommendations import Lists, fill
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import scratch_folder
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_spark.given import given
from ptupcdr_spark.numbered import ordered
from ptupcdr_spark.parquet_store import ParquetStore, parquet_store

RATINGS = 1 << 20
"""About how many source ratings the people have whose lists one task makes."""
BRIDGED = "pair string, user_id string, cohort string, mode string, embedding array<float>, made_by string, place int"
LISTED = (
    "pair string, user_id string, cohort string, mode string, rank int, item_id string, score float, made_by string, "
    "bridged boolean, reasons array<string>, reason_weights array<float>, title string"
)
_LISTED = pa.schema([
    ("pair", pa.string()), ("user_id", pa.string()), ("cohort", pa.string()), ("mode", pa.string()),
    ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32()), ("made_by", pa.string()),
    ("bridged", pa.bool_()), ("reasons", pa.list_(pa.string())), ("reason_weights", pa.list_(pa.float32())),
    ("title", pa.string()),
])  # fmt: skip


def bridge_cold_users(
    spark: SparkSession, home: Home, pair: str, settings: Settings, fingerprint: str = ""
) -> StageReport:
    """See ``ptupcdr_core.stages.embeddings``. Here people are folded into the bundle that was just trained, which gives
    them the vectors that training gave them, except for rounding.

    Raises:
        ArtifactError: there is no such bundle.
    """
    warehouse = _absolute(Warehouse.from_environment(home.warehouse))
    bundle = Bundle.load(bundle_file(home, CANDIDATE, pair))
    asset, used = embeddings.ASSET, settings.model_dump()
    with parquet_store(spark, warehouse, asset, pair, fingerprint=fingerprint, settings=used) as store:
        last, size = last_user(warehouse, pair), embeddings.USERS
        tasks = [(first, first + size - 1) for first in range(1, last + 1, size)]
        ranges = spark.sparkContext.parallelize(tasks, len(tasks)).toDF("first int, last int")
        rows = store.scratch("rows", ranges.mapInArrow(_bridging(warehouse, pair, bundle), BRIDGED))
        sizes = {len(mode.part.mean) for mode in bundle.modes.values()}
        kind = "float[]" if len(bundle.modes) > 1 else f"float[{sizes.pop()}]"
        store.keep(asset, ordered(rows, "place", "user_id").drop("place"), {"embedding": kind})
        return _told(store.connection, asset, [*bundle.modes])


def recommend_cold_users(
    spark: SparkSession, home: Home, pair: str, settings: Settings, fingerprint: str = "", items: Items | None = None
) -> StageReport:
    """See ``ptupcdr_core.stages.recommendations``, whose tables these are."""
    warehouse, used = Warehouse.from_environment(home.warehouse), settings.deciding("recommendations")
    asset = recommendations.ASSET
    with parquet_store(spark, warehouse, asset, pair, fingerprint=fingerprint, settings=used) as store:

        def put(_: duckdb.DuckDBPyConnection, lists: Lists, today: Today) -> dict[str, float]:
            return _listed(store, lists, today)

        return fill(store.connection, home, pair, settings, items or Items(), put)


def _bridging(
    warehouse: Warehouse, pair: str, bundle: Bundle
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """From ranges of user indices to rows of ``BRIDGED``."""

    def bridge(tasks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numba.set_num_threads(1)  # Spark gives a core a task
        for task in (row for batch in tasks for row in batch.to_pylist()):
            blocks = embeddings.folded_rows(warehouse, pair, bundle, task["first"], task["last"])
            for place, rows in enumerate(blocks.values()):
                lists = rows["embedding"].cast(pa.list_(pa.float32()))
                rows = rows.set_column(rows.column_names.index("embedding"), "embedding", lists)
                yield from rows.append_column("place", pa.repeat(pa.scalar(place, pa.int32()), len(rows))).to_batches()

    return bridge


def _told(connection: duckdb.DuckDBPyConnection, asset: str, modes: list[str]) -> StageReport:
    """The stage's report on its table."""
    norms: dict[str, float] = dict(
        connection.execute(
            "select mode, avg(sqrt(list_dot_product(embedding::float[], embedding::float[]))) "  # nosec B608 # ours
            f"from {asset} group by mode"
        ).fetchall()
    )
    counts = connection.sql(
        f"select mode, cohort, made_by, count(*) as users from {asset} group by all "  # nosec B608 # ours
        "order by users desc, mode, cohort, made_by"
    ).fetchdf()
    users = float(counts["users"].sum() / len(modes))
    metrics = {"users": users} | {f"mean_norm_{mode}": norms.get(mode, 0.0) for mode in modes}
    return StageReport(metrics, tables={"users_by_cohort": counts})


def _listed(store: ParquetStore, lists: Lists, today: Today) -> dict[str, float]:
    """Make the table ``recommendations``, as ``recommendations.Put`` says."""
    columns = ("user_id", "item_id", "rating", "timestamp", "place")
    source = given(store, today.warehouse, today.source).select(*columns)
    target = given(store, today.warehouse, today.target).select("user_id", "item_id")
    blocks = max(1, -(-source.count() // RATINGS))
    foretold = COLUMNS if "rating" in lists.bundle.modes else ()
    fields = ", ".join([LISTED, *(f"{name} float" for name in foretold)])
    both = _by_block(source, blocks).cogroup(_by_block(target, blocks))
    schema = pa.schema([*_LISTED, *((name, pa.float32()) for name in foretold), ("told", pa.string())])
    rows = store.scratch("rows", both.applyInArrow(_listing(lists, today, schema), f"{fields}, told string"))
    kept = store.keep(recommendations.ASSET, ordered(rows.where("told is null").drop("told"), "user_id", "rank"))
    metrics = {"users": 0.0, "recommendations": float(kept.count())}
    for (told,) in rows.where("told is not null").select("told").orderBy("told").collect():
        counted = json.loads(told)
        metrics = counted | metrics | {"users": metrics["users"] + counted["users"]}
    return metrics


def _by_block(rows: DataFrame, blocks: int) -> Any:
    """The rows of a person are all in one block."""
    return rows.withColumn("block", F.pmod(F.xxhash64("user_id"), F.lit(blocks))).groupBy("block")


@dataclass(frozen=True)
class BlockToday(Today):
    """People of one block, by the rows of both domains that Spark has brought together.

    Args:
        rows: of each side.
    """

    rows: Mapping[Side, pa.Table]

    @contextmanager
    def raw(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """See ``Today``."""
        with self.warehouse.scratch() as connection:
            for side, rows in self.rows.items():
                connection.register(f"{side}_given", rows)
            connection.execute(statement("people"))
            yield connection


def _listing(lists: Lists, today: Today, schema: pa.Schema) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """From a block's rows of both domains to its people's lists, and one further row with counts."""
    limit = today.warehouse.memory_limit

    def make(source: pa.Table, target: pa.Table) -> pa.Table:
        numba.set_num_threads(1)  # Spark gives a core a task
        metrics: dict[str, float] = {}
        with scratch_folder() as folder:
            here = Warehouse(folder, limit, threads=1)
            block = BlockToday(here, today.source, today.target, today.served, {"source": source, "target": target})
            made = [_cast(rows, schema) for rows in lists.of(block, metrics)]
        return pa.concat_tables([*made, pa.Table.from_pylist([{"told": json.dumps(metrics)}], schema)])

    return make


def _cast(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    return rows.append_column("told", pa.nulls(len(rows), pa.string())).select(schema.names).cast(schema)


def _absolute(warehouse: Warehouse) -> Warehouse:
    return replace(warehouse, root=warehouse.root.absolute())
