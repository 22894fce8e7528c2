"""A few numbers that describe a pair's ratings: a bundle keeps those of its training, and every night has its own."""

from dataclasses import dataclass

import duckdb

from ptupcdr_core.data.pair_data import SIDES, SPLIT, Outline
from ptupcdr_core.sql import statement
from ptupcdr_core.store.warehouse import Warehouse

BINS = 10
"""Bins of a distribution, as is usual for the population stability index."""
Scales = dict[str, list[float] | None]
"""Lowest and highest rating by side; None where there are no stars."""


@dataclass(frozen=True)
class DataSummary:
    """Counts, and how the stars are spread.

    Args:
        scales: of the training, by side.
        counts: users, items and ratings of either side by name, such as ``source_users``; and ``shared_users``, who
            have rated in both.
        stars: (10,) share of the ratings in each tenth of the scale, by side; no entry for a side without stars.
        means: of the stars, by side.
    """

    scales: Scales
    counts: dict[str, int]
    stars: dict[str, list[float]]
    means: dict[str, float]


def split_summary(warehouse: Warehouse, outline: Outline) -> DataSummary:
    """Summarize a pair's split: all its ratings, whether trained on or held out.

    Raises:
        WarehouseError: the pair was not split.
    """
    scales: Scales = {
        side: None if scale is None else [scale.low, scale.high]
        for side, scale in zip(SIDES, (outline.reading.scale, outline.target_scale), strict=True)
    }
    with warehouse.read(SPLIT, outline.pair) as connection:
        for side in SIDES:
            connection.execute(
                f"create temp view {side}_rows as select user_index as person, item_index as item, rating "  # nosec B608 # ours
                f"from split_{side}_ratings"
            )
        return summarized(connection, scales)


def summarized(connection: duckdb.DuckDBPyConnection, scales: Scales) -> DataSummary:
    """Summarize the views ``source_rows`` and ``target_rows``, with the columns person, item and rating."""
    counted = connection.execute(statement("data_summary"))
    names = [str(column[0]) for column in counted.description or ()]
    counts = dict(zip(names, map(int, counted.fetchall()[0]), strict=True))
    stars = {side: _tenths(connection, side, scale) for side, scale in scales.items() if scale is not None}
    means = {}
    for side in stars:
        [(mean,)] = connection.execute(f"select coalesce(avg(rating), 0) from {side}_rows").fetchall()  # nosec B608 # ours
        means[side] = float(mean)
    return DataSummary(scales, counts, stars, means)


def _tenths(connection: duckdb.DuckDBPyConnection, side: str, scale: list[float]) -> list[float]:
    low, high = scale
    place = f"greatest(0, least(floor((rating - $low) / ($high - $low) * {BINS}), {BINS - 1}))::integer"
    spread = dict(
        connection.execute(
            f"select {place} as tenth, count(*) from {side}_rows group by tenth",  # nosec B608 # ours
            {"low": low, "high": high},
        ).fetchall()
    )
    return [spread.get(tenth, 0) / max(1, sum(spread.values())) for tenth in range(BINS)]
