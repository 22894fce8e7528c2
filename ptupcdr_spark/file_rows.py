"""The rows of a domain's files, read and judged by the core's own statements, one task for each file.

So every format, and every odd number and broken line in it, is read as DuckDB reads it on one machine. Only what
crosses files, such as which of two ratings is the later one, is Spark's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.ingest import judge
from ptupcdr_core.sources.people import note_people
from ptupcdr_core.sources.staging import count_file, reading, stage_file
from ptupcdr_core.sql import statement
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import scratch_folder
from ptupcdr_core.store.warehouse import Warehouse

BATCH = 1 << 16
FIELDS = (
    "file_index int, nth bigint, source_row bigint, user_id string, item_id string, value double, moment double, "
    "is_person string, reason string, written_user string, written_item string, written_value string, "
    "written_time string, rows_read bigint, error string"
)
_SCHEMA = pa.schema([
    ("file_index", pa.int32()), ("nth", pa.int64()), ("source_row", pa.int64()), ("user_id", pa.string()),
    ("item_id", pa.string()), ("value", pa.float64()), ("moment", pa.float64()), ("is_person", pa.string()),
    ("reason", pa.string()), ("written_user", pa.string()), ("written_item", pa.string()),
    ("written_value", pa.string()), ("written_time", pa.string()), ("rows_read", pa.int64()), ("error", pa.string()),
])  # fmt: skip


@dataclass(frozen=True)
class FileRows:
    """Reads files in a task.

    Args:
        domain: what they are of.
        home: has the list of people to be forgotten; all executors see it at this path.
        memory_limit: of each task, as DuckDB writes it.
    """

    domain: Domain
    home: Home
    memory_limit: str | None

    def __call__(self, tasks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """From rows of a file's index and path to the rows of ``FIELDS``.

        A file that cannot be used becomes a row with the error: if the task failed, Spark would repeat it, and bury the
        message that says what to do.
        """
        for batch in tasks:
            for task in batch.to_pylist():
                try:
                    yield from self._rows(task["file_index"], task["path"] and Path(task["path"]))
                except SourceError as error:
                    row = dict.fromkeys(_SCHEMA.names) | {"file_index": task["file_index"], "error": str(error)}
                    yield pa.RecordBatch.from_pylist([row], _SCHEMA)

    def _rows(self, index: int, path: Path | None) -> Iterator[pa.RecordBatch]:
        with scratch_folder() as folder, Warehouse(folder, self.memory_limit, threads=1).scratch() as connection:
            self._read(connection, index, path)
            for batch in connection.sql(statement("file_rows", "ptupcdr_spark.sql")).to_arrow_reader(BATCH):
                yield batch.cast(_SCHEMA)

    def _read(self, connection: duckdb.DuckDBPyConnection, index: int, path: Path | None) -> None:
        connection.execute(statement("staging"))
        with reading(self.domain, path):
            stage_file(connection, self.domain, path, index)
        count_file(connection, self.domain, path, index)
        note_people(connection, self.domain, self.home)
        judge(connection, self.domain)


def file_rows(spark: SparkSession, domain: Domain, files: Sequence[Path | None], warehouse: Warehouse) -> DataFrame:
    """All rows of a domain's files (``FIELDS``), read when Spark computes them.

    Args:
        spark: reads.
        domain: what to read.
        files: that all executors see at these paths; one None where the domain has none.
        warehouse: in its home; its memory limit is that of each task.
    """
    tasks = [(index, None if path is None else str(path.absolute())) for index, path in enumerate(files)]
    read = FileRows(domain, Home(warehouse.root.parent.absolute()), warehouse.memory_limit)
    paths = spark.sparkContext.parallelize(tasks, len(tasks)).toDF("file_index int, path string")
    return paths.mapInArrow(read, FIELDS)
