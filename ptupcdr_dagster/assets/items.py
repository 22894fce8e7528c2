"""The catalog's item tables of a pair, such as titles and who may be recommended what, for assets to show."""

from typing import TYPE_CHECKING

from ptupcdr_dagster.partitions import CATALOG

if TYPE_CHECKING:
    from ptupcdr_core.data.pair_data import Side
    from ptupcdr_core.sources.items import Items


def pair_items(pair: str) -> "dict[Side, Items]":
    """The items of either side as the catalog's files list them today."""
    from ptupcdr_core.sources.items import read_items

    named = CATALOG.pair(pair)
    return {"source": read_items(CATALOG.domain(named.source)), "target": read_items(CATALOG.domain(named.target))}
