"""Ratings in blocks of consecutive rows, and what each row makes of the numbers of the columns that it has.

A half step of least squares has this shape, and so has every mean over a user's or an item's ratings. Each block of one
side gets from each of the other side the numbers that it needs, once each, and a compiled or vectorized function makes
the new ones of its rows. Ratings keep the order that they have on one machine, so that sums do.

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
"""Rows of two kinds: a block's ratings (source is null), and which rows of another side's block it needs."""
SENT = "block int, source int, numbers binary"
_LAID = pa.schema([("block", pa.int32()), ("offsets", pa.binary()), ("columns", pa.binary()), ("values", pa.binary()),
                   ("source", pa.int32()), ("needed", pa.binary())])  # fmt: skip
_SENT = pa.schema([("block", pa.int32()), ("source", pa.int32()), ("numbers", pa.binary())])
_OWN = -1
_NOTHING = pa.schema([("block", pa.int32()), ("numbers", pa.binary()), ("told", pa.binary())]).empty_table()

Read = Callable[[bytes], Floats]
"""(n, w) float32, the numbers that others get, of what a block's row of ``STATE`` holds."""
Make = Callable[[Csr, Floats, bytes], tuple[Numbers, Doubles]]
"""A block's new numbers, and what is told of them, of its ratings (whose columns count the needed ones), of those
columns' numbers (c, w), and of its own as ``STATE`` holds them, if they were asked for."""


class Sent(NamedTuple):
    """What one side has for the other.

    Args:
        state: its numbers.
        read: what is sent of them.
        width: w, how many of a row.
    """

    state: State
    read: Read
    width: int


def lay_out(ratings: DataFrame, this: str, other: str, rows: Cut, columns: Cut) -> DataFrame:
    """One side's ratings in blocks (``LAID``).

    Args:
        ratings: with a value in each row.
        this: the column of the side's indices, and
        other: of the other side's.
        rows: how this side is cut, and
        columns: the other one.
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
        ratings: a row a block: block, offsets, columns, values.
        links: source, block, needed.
        cut: of the side.
        blocks: of the other side.
    """

    ratings: DataFrame
    links: DataFrame
    cut: Cut
    blocks: int

    @classmethod
    def of(cls, laid: DataFrame, rows: Cut, columns: Cut) -> "Side":
        """Read what ``lay_out`` made, and keep it where it is used in every step."""
        ratings = laid.where("source is null").select("block", "offsets", "columns", "values")
        links = laid.where("source is not null").select("source", "block", "needed")
        return cls(
            ratings.repartition(rows.blocks, "block").persist(),
            links.repartition(columns.blocks, "source").persist(),
            rows,
            columns.blocks,
        )

    def valued(self, state: State) -> "Side":
        """The same where a rating's value is what a step has made of it."""
        values = state.frame.select("block", F.col("numbers").alias("values"))
        ratings = self.ratings.drop("values").join(values, "block").select("block", "offsets", "columns", "values")
        return Side(ratings.repartition(self.cut.blocks, "block").persist(), self.links, self.cut, self.blocks)

    def free(self, *, links: bool) -> None:
        """Let go of the ratings that are kept, and of the links, which sides made by ``valued`` share."""
        self.ratings.unpersist()
        if links:
            self.links.unpersist()

    def step(self, make: Make, other: Sent | None = None, own: State | None = None) -> DataFrame:
        """New numbers of all rows (``STATE``).

        Args:
            make: makes a block's.
            other: what the other side sends; None: nothing, and the columns' numbers are zeros.
            own: what the side had before, if ``make`` reads it.
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
    """A copy: what may not be written to is another type to compiled code, and is compiled for it anew."""
    return np.frombuffer(row[name][0].as_py(), kind).copy()
