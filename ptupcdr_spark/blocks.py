"""Ratings in blocks of consecutive rows (users or items), and new numbers for each row from those of its columns.

A half step of least squares has this shape, and so has every mean over a user's or an item's ratings. Each block of one
side receives from every block of the other side the numbers that it needs, each only once, and a compiled or vectorized
function computes the new numbers of its rows. Ratings keep the order that they have on one machine, so sums do, too.

Shapes: n rows of a block, m ratings of it, c columns that it needs, w numbers of each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_spark.steps import STATE, Cut, Doubles, Numbers, State, state_row

LAID = "block int, offsets binary, columns binary, values binary, source int, needed binary"
"""Rows of two kinds: a block's ratings (source is null), and which rows of a block of the other side it needs."""
SENT = "block int, source int, numbers binary"
_LAID = pa.schema([("block", pa.int32()), ("offsets", pa.binary()), ("columns", pa.binary()), ("values", pa.binary()),
                   ("source", pa.int32()), ("needed", pa.binary())])  # fmt: skip
_SENT = pa.schema([("block", pa.int32()), ("source", pa.int32()), ("numbers", pa.binary())])
_OWN = -1
_NOTHING = pa.schema([("block", pa.int32()), ("numbers", pa.binary()), ("told", pa.binary())]).empty_table()

Read = Callable[[bytes], Floats]
"""From a block's numbers, as ``STATE`` holds them, to (n, w) float32: what is sent to the other side."""
Make = Callable[[Csr, Floats, bytes], tuple[Numbers, Doubles]]
"""From a block's ratings, whose columns are counted among those that it needs, the numbers (c, w) of these columns, and
the block's own numbers as ``STATE`` holds them (empty if they were not asked for), to its new numbers and what is told:
float64 that are summed over all blocks."""


class Sent(NamedTuple):
    """What one side sends to the other.

    Args:
        state: its numbers.
        read: gives what is sent of them.
        width: w, numbers of each row.
    """

    state: State
    read: Read
    width: int


def lay_out(ratings: DataFrame, this: str, other: str, rows: Cut, columns: Cut) -> DataFrame:
    """One side's ratings in blocks (``LAID``).

    Args:
        ratings: with a column ``value``.
        this: the column with the side's own indices.
        other: the column with the other side's.
        rows: how this side is cut into blocks.
        columns: how the other side is.
    """

    def block(key: tuple[pa.Scalar, ...], own: pa.Table) -> pa.Table:
        number = key[0].as_py()
        row, column = (own[name].to_numpy() for name in (this, other))
        order = np.lexsort((column, row))
        row, column = row[order] - number * rows.rows, column[order]
        offsets = np.zeros(rows.size(number) + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=rows.size(number)), out=offsets[1:])
        needed, places = np.unique(column, return_inverse=True)
        values = own["value"].to_numpy()[order].astype(np.float32)
        laid = [[number], [offsets.tobytes()], [places.astype(np.int32).tobytes()], [values.tobytes()], [None], [b""]]
        links = [laid[0] * columns.blocks, *[[b""] * columns.blocks] * 3, [*range(columns.blocks)], []]
        for source in range(columns.blocks):
            first, last = np.searchsorted(needed, [source * columns.rows, (source + 1) * columns.rows])
            links[-1].append((needed[first:last] - source * columns.rows).astype(np.int32).tobytes())
        return pa.concat_tables(pa.table(own, schema=_LAID) for own in (laid, links))

    numbered = ratings.withColumn("block", F.expr(f"cast({this} div {rows.rows} as int)"))
    return numbered.groupBy("block").applyInArrow(block, LAID)


@dataclass(frozen=True)
class Side:
    """One side's ratings, ready for steps.

    Args:
        ratings: one row for each block: block, offsets, columns, values.
        links: source, block, needed.
        cut: how the side is cut into blocks.
        blocks: how many blocks the other side has.
    """

    ratings: DataFrame
    links: DataFrame
    cut: Cut
    blocks: int

    @classmethod
    def of(cls, laid: DataFrame, rows: Cut, columns: Cut) -> "Side":
        """Read what ``lay_out`` made, and keep it on the executors, since every step reads it."""
        ratings = laid.where("source is null").select("block", "offsets", "columns", "values")
        links = laid.where("source is not null").select("source", "block", "needed")
        return cls(
            ratings.repartition(rows.blocks, "block").persist(),
            links.repartition(columns.blocks, "source").persist(),
            rows,
            columns.blocks,
        )

    def valued(self, state: State) -> "Side":
        """The same ratings, their values replaced by the numbers that a step has made of them."""
        values = state.frame.select("block", F.col("numbers").alias("values"))
        ratings = self.ratings.drop("values").join(values, "block").select("block", "offsets", "columns", "values")
        return Side(ratings.repartition(self.cut.blocks, "block").persist(), self.links, self.cut, self.blocks)

    def free(self, *, links: bool) -> None:
        """Release the ratings that are kept, and the links too if asked: a side made by ``valued`` shares them."""
        self.ratings.unpersist()
        if links:
            self.links.unpersist()

    def step(self, make: Make, other: Sent | None = None, own: State | None = None) -> DataFrame:
        """New numbers of all rows (``STATE``).

        Args:
            make: computes a block's.
            other: what the other side sends; None: nothing, then the columns' numbers are zeros.
            own: the side's numbers so far, if ``make`` reads them.
        """
        width = 1 if other is None else other.width

        def made(key: tuple[pa.Scalar, ...], ratings: pa.Table, sent: pa.Table) -> pa.Table:
            if not len(ratings):
                return _NOTHING
            parts = dict(zip(sent["source"].to_pylist(), sent["numbers"].to_pylist(), strict=True))
            before = parts.pop(_OWN, b"")
            arrays = (_writable(ratings, name, kind) for name, kind in _ARRAYS)
            rows = Csr._make([*arrays, np.zeros(0, np.int32)])
            needed = int(rows.columns.max(initial=-1)) + 1
            numbers = np.frombuffer(b"".join(parts[source] for source in sorted(parts)), np.float32)
            given = numbers.reshape(needed, width) if parts else np.zeros((needed, width), np.float32)
            return state_row(key[0].as_py(), *make(rows, given, before))

        messages = self._messages(other, own).repartition(self.cut.blocks, "block")
        return self.ratings.groupBy("block").cogroup(messages.groupBy("block")).applyInArrow(made, STATE)

    def _messages(self, other: Sent | None, own: State | None) -> DataFrame:
        nothing = self.links.sparkSession.createDataFrame([], SENT)
        if other is not None:
            states = other.state.frame.select(F.col("block").alias("source"), "numbers")
            states = states.repartition(self.blocks, "source")
            nothing = (
                self.links.groupBy("source")
                .cogroup(states.groupBy("source"))
                .applyInArrow(_sending(other.read, other.width), SENT)
            )
        if own is None:
            return nothing
        return nothing.unionByName(own.frame.select("block", F.lit(_OWN).alias("source"), "numbers"))


_ARRAYS: tuple[tuple[str, Any], ...] = (("offsets", np.int64), ("columns", np.int32), ("values", np.float32))


def _sending(read: Read, width: int) -> Callable[[pa.Table, pa.Table], pa.Table]:
    def send(links: pa.Table, state: pa.Table) -> pa.Table:
        if not len(links) or not len(state):  # no rating joins a block with one that has none
            return _SENT.empty_table()
        numbers = read(state["numbers"][0].as_py())
        sent = [numbers[np.frombuffer(needed.as_py(), np.int32)].tobytes() for needed in links["needed"]]
        return pa.table([links["block"], links["source"], pa.array(sent, pa.binary())], schema=_SENT)

    return send


def _writable(row: pa.Table, name: str, kind: Any) -> NDArray[Any]:
    """A copy: to compiled code a read-only array is another type, for which it would be compiled once more."""
    return np.frombuffer(row[name][0].as_py(), kind).copy()
