"""Make a pair's tables, models and lists on Spark, while an executor is killed in each stage.

    python dying_executors.py HOME BOOKS MOVIES

Once in each stage, a task kills the process that it runs in; its executor's tasks then run elsewhere.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pyarrow as pa
from pyspark.sql import DataFrame

from ptupcdr_core.arrays import Floats
from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import SIDES
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import CANDIDATE, DEPLOYED, bundle_file
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_spark import cleaning, people, pretraining, splitting
from ptupcdr_spark.blocks import Make
from ptupcdr_spark.engine import SPARK
from ptupcdr_spark.file_rows import file_rows
from ptupcdr_spark.least_squares import LeastSquares
from ptupcdr_spark.steps import Doubles, Numbers

SETTINGS = Settings(mode="ranking", ranking_size=4)
Lister = Callable[[pa.Table, pa.Table], pa.Table]


@dataclass(frozen=True)
class KillOnce:
    """Passes rows on; the first task that has some kills its executor.

    Args:
        mark: a file that marks that this was done.
    """

    mark: Path

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                self.once()
            yield batch

    def once(self) -> None:
        """Kill the executor of this task, unless that was done."""
        if not self.mark.exists():
            self.mark.touch()
            executor = next(parent for parent in psutil.Process().parents() if parent.name() == "java")
            assert "CoarseGrainedExecutorBackend" in " ".join(executor.cmdline()), "never the driver"
            os.kill(executor.pid, signal.SIGKILL)


def deadly(make: Callable[..., DataFrame], mark: Path) -> Callable[..., DataFrame]:
    """A function that makes rows, with a task that kills its executor."""

    def made(*arguments: object) -> DataFrame:
        rows = make(*arguments)
        return rows.mapInArrow(KillOnce(mark), rows.schema)

    return made


def deadly_blocks(make: Callable[..., Make], mark: Path) -> Callable[..., Make]:
    """A function that makes a block's numbers, with a task that kills its executor first."""

    def made(*arguments: object) -> Make:
        block, kill = make(*arguments), KillOnce(mark)

        def dying(rows: Csr, others: Floats, own: bytes) -> tuple[Numbers, Doubles]:
            kill.once()
            return block(rows, others, own)

        return dying

    return made


def deadly_lists(make: Callable[..., Lister], mark: Path) -> Callable[..., Lister]:
    """The same for a function that makes the lists of a block of people."""

    def made(*arguments: Any) -> Lister:
        block, kill = make(*arguments), KillOnce(mark)

        def dying(source: pa.Table, target: pa.Table) -> pa.Table:
            kill.once()
            return block(source, target)

        return dying

    return made


def main() -> None:
    """Make everything, and print in which stages an executor was killed."""
    root, *folders = map(Path, sys.argv[1:])
    stages = ("cleaning", "splitting", "least_squares", "lists")
    marks = {stage: root.with_name(f"{stage}.mark") for stage in stages}
    home, warehouse = Home(root), Warehouse(root / "warehouse")
    source, target = (Domain(name=folder.name, format="csv", path=str(folder), engine="spark") for folder in folders)
    pair = Pair(source=source.name, target=target.name)
    with mock.patch.object(cleaning, "file_rows", deadly(file_rows, marks["cleaning"])):
        for side in (source, target):
            SPARK.ingest_domain(side, warehouse)
    with mock.patch.object(splitting, "_indexed", deadly(splitting._indexed, marks["splitting"])):
        SPARK.build_split(pair, source, target, warehouse, SETTINGS)
    half_step = deadly_blocks(LeastSquares._half_step, marks["least_squares"])
    with mock.patch.object(pretraining, "BLOCK", 1_000), mock.patch.object(LeastSquares, "_half_step", half_step):
        for side_name in SIDES:
            SPARK.pretrain(home, pair.key, side_name, SETTINGS, lambda epoch, metrics: None)
    deployed(home, pair.key)
    with (
        mock.patch.object(people, "RATINGS", 500),
        mock.patch.object(people, "_listing", deadly_lists(people._listing, marks["lists"])),
    ):
        SPARK.recommend_cold_users(home, pair.key, SETTINGS)
    print(json.dumps([stage for stage, mark in marks.items() if mark.exists()]))


def deployed(home: Home, pair: str) -> None:
    """Make what comes between base models and lists on this machine, and deploy it without the gate."""
    train_bridges(home, pair, SETTINGS, lambda epoch, metrics: None)
    Bundle.load(bundle_file(home, CANDIDATE, pair)).save(bundle_file(home, DEPLOYED, pair))


if __name__ == "__main__":
    main()
