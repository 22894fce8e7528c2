"""Clean two domains and split their pair on Spark, while an executor is killed in each of the two stages.

    python dying_executors.py HOME BOOKS MOVIES

What is killed is the program that one task runs in, from within the task, once a stage; the tasks then run elsewhere.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import psutil
import pyarrow as pa
from pyspark.sql import DataFrame

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_spark import cleaning, splitting
from ptupcdr_spark.engine import SPARK
from ptupcdr_spark.file_rows import file_rows


@dataclass(frozen=True)
class KillOnce:
    """Passes rows on; the first of its tasks to have some kills its executor.

    Args:
        mark: the file that says that it was done.
    """

    mark: Path

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows and not self.mark.exists():
                self.mark.touch()
                executor = next(parent for parent in psutil.Process().parents() if parent.name() == "java")
                assert "CoarseGrainedExecutorBackend" in " ".join(executor.cmdline()), "never the driver"
                os.kill(executor.pid, signal.SIGKILL)
            yield batch


def deadly(make: Callable[..., DataFrame], mark: Path) -> Callable[..., DataFrame]:
    """What makes rows, with a task that kills its executor."""

    def made(*arguments: object) -> DataFrame:
        rows = make(*arguments)
        return rows.mapInArrow(KillOnce(mark), rows.schema)

    return made


def main() -> None:
    """Make the tables, and print in which stages an executor was killed."""
    root, *folders = map(Path, sys.argv[1:])
    marks = {stage: root.with_name(f"{stage}.mark") for stage in ("cleaning", "splitting")}
    warehouse = Warehouse(root / "warehouse")
    source, target = (Domain(name=folder.name, format="csv", path=str(folder), engine="spark") for folder in folders)
    with mock.patch.object(cleaning, "file_rows", deadly(file_rows, marks["cleaning"])):
        for side in (source, target):
            SPARK.ingest_domain(side, warehouse)
    with mock.patch.object(splitting, "_indexed", deadly(splitting._indexed, marks["splitting"])):
        SPARK.build_split(Pair(source=source.name, target=target.name), source, target, warehouse, Settings())
    print(json.dumps([stage for stage, mark in marks.items() if mark.exists()]))


if __name__ == "__main__":
    main()
