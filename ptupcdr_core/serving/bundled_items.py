"""What a bundle knows of its items, as arrays: titles, groups, and which may be recommended, as of a day."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ptupcdr_core.data.pair_data import SIDES, Side
from ptupcdr_core.serving.bundled_mode import texts_as_tensors, texts_from_tensors, under
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store.artifacts import Tensors

KINDS = ("titles", "groups")


def items_as_tensors(items: Mapping[Side, Items]) -> Tensors:
    """All arrays by name; none for a side of which nothing is known. Addresses of pages and pictures are left out."""
    return dict(entry for side, own in items.items() for entry in _tensors(side, own))


def items_from_tensors(tensors: Mapping[str, Any]) -> dict[Side, Items]:
    """The items that ``items_as_tensors`` wrote."""
    return {side: known for side in SIDES if (known := _items(side, tensors)) != Items()}


def _tensors(side: Side, own: Items) -> Iterator[tuple[str, Any]]:
    for kind, told in (("titles", own.titles), ("groups", own.groups)):
        for column, texts in (("ids", told.keys()), ("titles", told.values())) if told else ():
            for name, tensor in texts_as_tensors(column, pa.array(texts, pa.string())).items():
                yield f"{kind}.{side}.{name}", tensor
    if own.eligible is not None:
        for name, tensor in texts_as_tensors("ids", pa.array(sorted(own.eligible), pa.string())).items():
            yield f"eligible.{side}.{name}", tensor
    if own.most_of_group is not None:
        yield f"most_of_group.{side}", np.array(own.most_of_group)


def _items(side: Side, tensors: Mapping[str, Any]) -> Items:
    titles, groups = (_texts(under(tensors, f"{kind}.{side}.")) for kind in KINDS)
    listed, most = under(tensors, f"eligible.{side}."), tensors.get(f"most_of_group.{side}")
    eligible = frozenset(texts_from_tensors("ids", listed).to_pylist()) if listed else None
    return Items(titles, groups, eligible=eligible, most_of_group=None if most is None else int(most))


def _texts(tensors: Mapping[str, Any]) -> dict[str, str]:
    if not tensors:
        return {}
    ids, texts = (texts_from_tensors(column, tensors).to_pylist() for column in ("ids", "titles"))
    return dict(zip(ids, texts, strict=True))
