"""A few numbers of a pair's ratings: kept in a bundle of what it was trained on, and made again of every night's."""

from dataclasses import dataclass

import duckdb

from ptupcdr_core.data.splits import ASSET as SPLIT
from ptupcdr_core.store.warehouse import Warehouse

BINS = 10
Scale = tuple[float, float]


@dataclass(frozen=True)
class DataSummary:
    """Counts, and how the stars are spread.

    Args:
        source_scale: lowest and highest rating of the source domain.
        target_scale: of the target domain.
        counts: users, items and ratings of either side by name, such as ``source_users``, and ``shared_users``, who
            have rated in both.
        source_stars: (10,) share of the source ratings in each tenth of the scale.
        target_stars: (10,) of the target ratings.
    """

    source_scale: Scale
    target_scale: Scale
    counts: dict[str, int]
    source_stars: list[float]
    target_stars: list[float]


def split_summary(warehouse: Warehouse, pair: str) -> DataSummary:
    """Of the present split.

    Raises:
        WarehouseError: the pair was not split.
    """
    with warehouse.read(SPLIT, pair) as connection:
        columns = "source_low, source_high, target_low, target_high"
        [(low, high, target_low, target_high)] = connection.execute(f"select {columns} from split_summary").fetchall()
        rows = "select user_index as person, item_index as item, rating from split_{}_ratings"
        return summarized(
            connection, rows.format("source"), rows.format("target"), (low, high), (target_low, target_high)
        )


def summarized(
    connection: duckdb.DuckDBPyConnection, source: str, target: str, source_scale: Scale, target_scale: Scale
) -> DataSummary:
    """Of two queries with the columns person, item and rating."""
    counts: dict[str, int] = {}
    stars = []
    for side, query, (low, high) in (("source", source, source_scale), ("target", target, target_scale)):
        [found] = connection.execute(
            f"select count(distinct person), count(distinct item), count(*) from ({query})"
        ).fetchall()
        counts |= dict(zip((f"{side}_users", f"{side}_items", f"{side}_ratings"), found, strict=True))
        spread = dict(
            connection.execute(
                f"select least(floor((rating - $low) / ($high - $low) * {BINS}), {BINS - 1})::integer as tenth, "
                f"count(*) from ({query}) group by tenth",
                {"low": low, "high": high},
            ).fetchall()
        )
        stars.append([spread.get(tenth, 0) / max(1, sum(spread.values())) for tenth in range(BINS)])
    shared = f"select count(*) from (select person from ({source}) intersect select person from ({target}))"
    [(counts["shared_users"],)] = connection.execute(shared).fetchall()
    return DataSummary(source_scale, target_scale, counts, *stars)
