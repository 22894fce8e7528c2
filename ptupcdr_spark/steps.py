"""Steps of a long calculation, each written once: a calculation that was stopped goes on after the last of them."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.tensors import Table

STATE = "block int, numbers binary, told binary"
"""One row for each block: the numbers of its rows, and what it tells, float64 that are summed over all blocks."""
_SCHEMA = pa.schema([("block", pa.int32()), ("numbers", pa.binary()), ("told", pa.binary())])
Numbers = NDArray[Any]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """How rows 0..count of a side are cut into blocks; row 0 is padding.

    Args:
        count: U or I.
        rows: of a block.
    """

    count: int
    rows: int

    @property
    def blocks(self) -> int:
        """How many there are."""
        return self.count // self.rows + 1

    def size(self, block: int) -> int:
        """Rows of that one."""
        return min(self.rows, self.count + 1 - block * self.rows)


def state_row(block: int, numbers: Numbers, told: Doubles) -> pa.Table:
    """One block's row of ``STATE``."""
    numbers, told = np.ascontiguousarray(numbers), np.asarray(told, np.float64)
    return pa.table([[block], [numbers.tobytes()], [told.tobytes()]], schema=_SCHEMA)


@dataclass(frozen=True)
class State:
    """The result of one step.

    Args:
        spark: reads it.
        place: of its Parquet files.
        told: (K,) float64, the sums of what the blocks told.
    """

    spark: SparkSession
    place: Path
    told: Doubles

    @property
    def frame(self) -> DataFrame:
        """Columns of ``STATE``."""
        return self.spark.read.schema(STATE).parquet(str(self.place))

    def table(self, cut: Cut, read: Callable[[bytes], Numbers], *width: int) -> Table:
        """(R+1, ...) float32 of all rows, zeros in blocks without ratings, read a block at a time.

        Args:
            cut: how the rows are cut.
            read: gives a block's numbers, (n, ...).
            width: of a row; none: one number each.
        """

        def pieces() -> Iterator[tuple[int, Numbers]]:
            for file in self.place.glob("*.parquet"):
                for batch in pq.ParquetFile(file).iter_batches(1, columns=["block", "numbers"]):
                    yield batch["block"][0].as_py() * cut.rows, read(batch["numbers"][0].as_py())

        return Table((cut.count + 1, *width), pieces)


@dataclass(frozen=True)
class Steps:
    """Steps in a folder that all executors see.

    Args:
        spark: computes them.
        folder: of this calculation alone.
    """

    spark: SparkSession
    folder: Path

    def step(self, name: str, make: Callable[[], DataFrame]) -> State:
        """The result of a step that Spark computes, unless it was written before."""
        return self._once(name, lambda place: make().write.mode("overwrite").parquet(str(place)))

    def start(self, name: str, rows: Callable[[], Iterator[pa.Table]]) -> State:
        """The same for a step that the driver computes: one row of ``STATE`` for each block."""

        def write(place: Path) -> None:
            place.mkdir(parents=True, exist_ok=True)
            for block, row in enumerate(rows()):
                pq.write_table(row, place / f"{block:08}.parquet")

        return self._once(name, write)

    def drop(self, state: State) -> None:
        """Remove a result that no later step reads. It stays marked as made, and is not made again."""
        shutil.rmtree(state.place, ignore_errors=True)

    def _once(self, name: str, write: Callable[[Path], None]) -> State:
        place, mark = self.folder / name, self.folder / f"{name}.npy"
        if not mark.is_file():
            write(place)
            with replaced(mark) as temporary, temporary.open("wb") as file:
                np.save(file, self._sums(place))
        return State(self.spark, place, np.load(mark))

    def _sums(self, place: Path) -> Doubles:
        """Summed in the order of the blocks, so that the last bits do not depend on which task wrote which block."""
        told: dict[int, Doubles] = {}
        for file in place.glob("*.parquet"):
            found = pq.read_table(file, columns=["block", "told"])
            blocks = found["block"].to_pylist()
            told |= {block: np.frombuffer(one.as_py()) for block, one in zip(blocks, found["told"], strict=True)}
        return np.asarray(sum(told[block] for block in sorted(told)), np.float64)
