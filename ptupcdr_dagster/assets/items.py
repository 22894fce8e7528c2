"""What the catalog tells of a pair's items, as assets show it."""

from typing import TYPE_CHECKING

from ptupcdr_dagster.partitions import CATALOG

if TYPE_CHECKING:
    from ptupcdr_core.data.pair_data import Side
    from ptupcdr_core.sources.items import Items


def pair_items(pair: str) -> "dict[Side, Items]":
    """What the catalog's files tell of the items of either side today."""
    from ptupcdr_core.sources.items import read_items

    named = CATALOG.pair(pair)
    return {"source": read_items(CATALOG.domain(named.source)), "target": read_items(CATALOG.domain(named.target))}
