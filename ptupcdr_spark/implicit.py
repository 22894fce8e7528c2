"""Factors of who took what past one machine, and the space that they span: see ``training.implicit`` and
``modes.ranking.space``. The numbers are the same, except for the order of float64 sums over blocks.

Shapes: n users of a block, m ratings of it, D factors, X coordinates of a user.
"""

from typing import NamedTuple

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.modes.ranking.space import QUANTILES, RankingSpace, period_ends_of
from ptupcdr_core.store.tensors import Tensor
from ptupcdr_core.training.epochs import OnEpoch
from ptupcdr_core.training.implicit import LOSS_SAMPLE, ImplicitFactors
from ptupcdr_spark.blocks import Make, Side
from ptupcdr_spark.effects import Means, counts
from ptupcdr_spark.least_squares import LeastSquares, Sides, vectors_of
from ptupcdr_spark.numbered import numbered
from ptupcdr_spark.steps import Doubles, State, Steps


class Taken(NamedTuple):
    """Factors of one domain as ``ImplicitFactors.tensors`` gives them, and the users' as they were written."""

    tensors: dict[str, Tensor]
    users: State


def factorize_taken(steps: Steps, sides: Sides, model: LeastSquares, on_epoch: OnEpoch) -> Taken:
    """Factorize who took what; the ratings' values are not read.

    Args:
        steps: keeps intermediate results.
        sides: the ratings.
        model: of the factors.
        on_epoch: told after every iteration the mean of p · q over a sample of each block's ratings.
    """
    items, users = sides.items.cut, sides.users.cut
    taken = Means.of(steps, "ranking-counts", sides.items, lambda rows, *_: np.ones((len(rows.columns), 1)), 1)
    p, q = model.factorize(
        steps,
        "ranking",
        sides,
        max(1, int(taken.ratings) // LOSS_SAMPLE),
        lambda number, product, _: on_epoch(number, {"ranking_fit": product}),
    )
    read = vectors_of(model.size)
    tensors: dict[str, Tensor] = {
        "user_embedding": p.table(users, read, model.size),
        "item_embedding": q.table(items, read, model.size),
        "item_counts": taken.state.table(items, counts(1)),
    }
    return Taken(tensors, p)


def source_space(steps: Steps, by_user: Side, users: State, size: int, ratings: DataFrame) -> dict[str, Tensor]:
    """How the source's users are laid out: what ``RankingSpace.checkpoint`` has beside the factors.

    Args:
        steps: keeps intermediate results.
        by_user: the ratings; their values are the times.
        users: their factors.
        size: D.
        ratings: the same, with the times in the column ``value``.
    """
    none = np.zeros((1, size), np.float32)
    nothing = ImplicitFactors(none, none, np.zeros(1, np.float32))
    plain = RankingSpace(nothing, period_ends(ratings), np.zeros(1, np.float32), np.ones(1, np.float32), Blocks((0,)))
    laid = steps.step("ranking-space", lambda: by_user.step(_coordinates(plain, size), own=users))
    means, squares = laid.told[1:].reshape(2, -1) / laid.told[0]
    deviation = float(np.sqrt(np.maximum(squares[size] - means[size] ** 2, 0)))
    space = plain.scaled(nothing, means, np.full(size, squares[:size].mean()), deviation)
    return {name: tensor for name, tensor in space.checkpoint().items() if name not in nothing.tensors()}


def period_ends(ratings: DataFrame) -> Floats:
    """See ``modes.ranking.space.period_ends``; the quantiles are exact."""
    infinite = F.lit(float("inf"))
    times = ratings.select(F.col("value").alias("time")).where(F.abs("time") < infinite)
    count, first, last = times.agg(F.count("*"), F.min("time"), F.max("time")).first() or (0, None, None)
    if not count:
        return np.zeros(0, np.float32)
    at = count * QUANTILES - 1  # as numpy's inverted_cdf has it
    ranks = np.maximum(np.ceil(at), 0).astype(int)
    placed = numbered(times, "time", name="rank", first=0)
    found = dict(placed.where(F.col("rank").isin(sorted({*ranks.tolist()}))).select("rank", "time").collect())
    placed.unpersist()
    quantiles = np.array([found[rank] for rank in ranks.tolist()], np.float32)
    return period_ends_of(quantiles, np.float32(first), np.float32(last))


def _coordinates(plain: RankingSpace, size: int) -> Make:
    """No numbers of the rows; only how many users have ratings, and sums of their coordinates and of the squares."""

    def make(rows: Csr, _: Floats, own: bytes) -> tuple[Floats, Doubles]:
        amounts = np.diff(rows.offsets)
        users = np.repeat(np.arange(len(amounts), dtype=np.int32), amounts)
        ratings = Ratings(users, rows.columns, rows.values, rows.values)
        known = plain.raw(vectors_of(size)(own), ratings, len(amounts) - 1)[amounts > 0].astype(np.float64)
        return np.zeros(0, np.float32), np.r_[len(known), known.sum(0), np.square(known).sum(0)]

    return make
