"""Steps of a long calculation, each written once: who begins again goes on after the last that was written."""

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

STATE = "block int, numbers binary, told binary"
"""A row a block: the numbers of its rows, and some float64 whose sums over all blocks the program wants."""
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
    """What one step has left.

    Args:
        spark: reads it.
        place: of its Parquet files.
        told: (K,) the sums of what the blocks told.
    """

    spark: SparkSession
    place: Path
    told: Doubles

    @property
    def frame(self) -> DataFrame:
        """Columns of ``STATE``."""
        return self.spark.read.schema(STATE).parquet(str(self.place))

    def table(self, cut: Cut, read: Callable[[bytes], Numbers], *width: int) -> Numbers:
        """(R+1, ...) float32 of all rows, zeros in blocks without ratings; the one thing here as long as its rows.

        Args:
            cut: how the rows are cut.
            read: gives a block's numbers, (n, ...).
            width: of a row; none: one number each.
        """
        table = np.zeros((cut.count + 1, *width), np.float32)
        for file in self.place.glob("*.parquet"):
            for batch in pq.ParquetFile(file).iter_batches(1, columns=["block", "numbers"]):
                first = batch["block"][0].as_py() * cut.rows
                numbers = read(batch["numbers"][0].as_py())
                table[first : first + len(numbers)] = numbers
        return table


@dataclass(frozen=True)
class Steps:
    """Steps in a folder that all executors see.

    Args:
        spark: makes them.
        folder: of this calculation alone.
    """

    spark: SparkSession
    folder: Path

    def step(self, name: str, make: Callable[[], DataFrame]) -> State:
        """What a step has left: made by Spark, unless it was written before."""
        return self._once(name, lambda place: make().write.mode("overwrite").parquet(str(place)))

    def start(self, name: str, rows: Callable[[], Iterator[pa.Table]]) -> State:
        """The same of a step that this program makes: a row of ``STATE`` a block."""

        def write(place: Path) -> None:
            place.mkdir(parents=True, exist_ok=True)
            for block, row in enumerate(rows()):
                pq.write_table(row, place / f"{block:08}.parquet")

        return self._once(name, write)

    def drop(self, state: State) -> None:
        """Remove what no later step reads. That it was made stays known, and it is not made again."""
        shutil.rmtree(state.place, ignore_errors=True)

    def _once(self, name: str, write: Callable[[Path], None]) -> State:
        place, mark = self.folder / name, self.folder / f"{name}.npy"
        if not mark.is_file():
            write(place)
            with replaced(mark) as temporary, temporary.open("wb") as file:
                np.save(file, self._sums(place))
        return State(self.spark, place, np.load(mark))

    def _sums(self, place: Path) -> Doubles:
        """In the order of the blocks, so that the last bits are the same whichever task wrote which."""
        told: dict[int, Doubles] = {}
        for file in place.glob("*.parquet"):
            found = pq.read_table(file, columns=["block", "told"])
            blocks = found["block"].to_pylist()
            told |= {block: np.frombuffer(one.as_py()) for block, one in zip(blocks, found["told"], strict=True)}
        return np.asarray(sum(told[block] for block in sorted(told)), np.float64)
