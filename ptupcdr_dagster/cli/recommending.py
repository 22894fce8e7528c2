"""Recommendations as the command line shows them: one row an item, each with its reasons."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.newcomers import read_history_file
from ptupcdr_core.serving.deployed import recommend, recommend_new
from ptupcdr_core.store.home import Home

COLUMNS = ["rank", "item_id", "score", "stars", "likely", "made_by", "reasons"]


def recommended_to_user(home: Home, pair: Pair, user: str, k: int) -> pd.DataFrame:
    """The best items for a cold-start user of the last run; reasons are lists of item_id and weight."""
    rows = [
        {name: getattr(found, name) for name in COLUMNS[:-1]}
        | {"reasons": [{"item_id": reason.item_id, "weight": reason.weight} for reason in found.reasons]}
        for found in recommend(home, pair.key, user, k)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def recommended_to_new(home: Home, pair: Pair, history: Path, k: int) -> tuple[pd.DataFrame, str]:
    """The best items for everybody in a file of source ratings, and a note on what of the file is unknown."""
    people = recommend_new(home, pair.key, read_history_file(history), k, origin=str(history))
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
        note += f"; {strangers} of the people without a known item, recommended what the average user gets (mean)"
    return frame.reindex(columns=["user_id", *COLUMNS]), note


def for_people(frame: pd.DataFrame) -> pd.DataFrame:
    """Recommendations as people read them: 4.3 stars, 80 % likely to like it, and reasons in one line."""
    return frame.assign(
        stars=frame["stars"].map("{:.1f}".format, na_action="ignore").fillna("–"),
        likely=frame["likely"].map("{:.0%}".format, na_action="ignore").fillna("–"),
        reasons=frame["reasons"].map(_told),
    )


def _told(reasons: list[dict[str, Any]]) -> str:
    """Reasons as one cell of a table."""
    return ", ".join(f"{reason['item_id']} {reason['weight']:+.2f}" for reason in reasons)
