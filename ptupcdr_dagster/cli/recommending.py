"""Recommendations as the command line shows them: one row for each item, with its reasons."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptupcdr_core.catalog import Catalog, Pair
from ptupcdr_core.data.newcomers import read_history_file
from ptupcdr_core.serving.deployed import recommend, recommend_new
from ptupcdr_core.sources.items import Items, read_item_ids, read_items
from ptupcdr_core.store.home import Home

COLUMNS = ["rank", "item_id", "score", "stars", "likely", "made_by", "reasons"]


@dataclass(frozen=True)
class Shown:
    """What is known of a pair's items, and which of them are left out.

    Args:
        source: Items of the source domain.
        target: Items of the target domain.
        exclude: Target items that are not recommended in this call.
    """

    source: Items
    target: Items
    exclude: frozenset[str]

    @classmethod
    def of(cls, catalog: Catalog, pair: Pair, exclude: Path | None) -> "Shown":
        """Read the catalog's item tables, and the file of excluded items.

        Raises:
            SourceError: a file is missing or lacks a column.
        """
        source, target = (read_items(catalog.domain(name)) for name in (pair.source, pair.target))
        return cls(source, target, frozenset() if exclude is None else read_item_ids(exclude))

    def as_known(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add titles if any are known, and drop the columns about stars if there are none."""
        if frame["stars"].isna().all():
            frame = frame.drop(columns=["stars", "likely"])
        if self.source.titles:
            frame = frame.assign(reasons=[[self._titled(one) for one in reasons] for reasons in frame["reasons"]])
        if self.target.titles:
            place = frame.columns.get_loc("item_id") + 1
            frame.insert(place, "title", frame["item_id"].map(self.target.titles))
        return frame

    def _titled(self, reason: dict[str, Any]) -> dict[str, Any]:
        title = self.source.titles.get(reason["item_id"])
        return reason if title is None else {"item_id": reason["item_id"], "title": title, "weight": reason["weight"]}


def recommended_to_user(home: Home, pair: Pair, user: str, k: int, shown: Shown) -> pd.DataFrame:
    """The best items for a cold-start user known by id; reasons are lists of item_id and weight."""
    found = recommend(home, pair.key, user, k, items=shown.target, exclude=shown.exclude)
    rows = [
        {name: getattr(item, name) for name in COLUMNS[:-1]}
        | {"reasons": [{"item_id": reason.item_id, "weight": reason.weight} for reason in item.reasons]}
        for item in found
    ]
    return shown.as_known(pd.DataFrame(rows, columns=COLUMNS))


def recommended_to_new(home: Home, pair: Pair, history: Path, k: int, shown: Shown) -> tuple[pd.DataFrame, str]:
    """The best items for everybody in a file of source ratings, and a note on unknown items in it."""
    ratings = read_history_file(history)
    people = recommend_new(home, pair.key, ratings, k, origin=str(history), items=shown.target, exclude=shown.exclude)
    frame = people.recommendations.to_pandas()
    frame["reasons"] = [
        [{"item_id": item, "weight": float(weight)} for item, weight in zip(items, weights, strict=True)]
        for items, weights in zip(frame["reasons"], frame["reason_weights"], strict=True)
    ]
    unknown, rated = int(people.unknown_items.sum()), int((people.known_items + people.unknown_items).sum())
    note = (
        f"{history}: {rated} rated items of {len(people.user_ids)} people; {unknown} unknown in {pair.source}, ignored"
    )
    strangers = int(np.count_nonzero(people.known_items == 0))
    if strangers:
        note += f"; {strangers} of the people have no known item, and get what the average user gets (mean)"
    return shown.as_known(frame.reindex(columns=["user_id", *COLUMNS])), note


def for_people(frame: pd.DataFrame) -> pd.DataFrame:
    """Recommendations as people read them: 4.3 stars, 80 % likely to like it, and reasons in one line."""
    frame = frame.assign(reasons=frame["reasons"].map(_told))
    if "stars" not in frame:
        return frame
    return frame.assign(
        stars=frame["stars"].map("{:.1f}".format, na_action="ignore").fillna("–"),
        likely=frame["likely"].map("{:.0%}".format, na_action="ignore").fillna("–"),
    )


def _told(reasons: list[dict[str, Any]]) -> str:
    """Reasons as one cell of a table."""
    return ", ".join(f"{reason.get('title', reason['item_id'])} {reason['weight']:+.2f}" for reason in reasons)
