"""What a page is about: when it was measured, which model, on which data; and people with their lists."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

PEOPLE, HISTORY, LIST = 3, 8, 5
"""People shown, the latest items of their histories, and the first of their lists."""
_SHOWN = """
select user_id from recommendations
group by user_id order by bool_or(cohort = 'cold') desc, sum(len(reasons)) desc, user_id limit ?
"""
_HISTORY = """
select item_id as item, rating as stars, count(*) over () as length
from split_source_ratings join split_users using (user_index) join split_source_items using (item_index)
where user_id = ? order by "timestamp" desc nulls last, item_id limit ?
"""


@dataclass(frozen=True)
class About:
    """Where a page's numbers come from.

    Args:
        measured: the day and minute of the evaluation, UTC.
        model: name and version of the registered model, and what the gate said; empty where it was not judged.
        data: digest of the ids and cohorts of the split.
    """

    measured: str
    model: str
    data: str


@dataclass(frozen=True)
class Example:
    """A person, what they rated last, and what they are recommended.

    Args:
        id: the user id.
        length: how many source items they rated.
        history: item, stars.
        recommended: rank, item_id, score, made_by, reasons, reason_weights; where ratings are predicted,
            stars and likely.
    """

    id: str
    length: int
    history: list[dict[str, Any]]
    recommended: list[dict[str, Any]]


def about(home: Home, pair: str) -> About:
    """Read it from the warehouse.

    Raises:
        WarehouseError: the pair was not evaluated.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    written = warehouse.require("cold_start_evaluation", pair).stat().st_mtime
    with warehouse.read("domain_splits", pair) as connection:
        [(digest,)] = connection.execute("select vocabulary from split_summary").fetchall()
    return About(f"{datetime.fromtimestamp(written, UTC):%Y-%m-%d %H:%M} UTC", _model(warehouse, pair), digest)


def examples(home: Home, pair: str) -> list[Example]:
    """A few people with their recommendations; empty where nobody has any."""
    warehouse = Warehouse.from_environment(home.warehouse)
    if not warehouse.exists("recommendations", pair):
        return []
    with warehouse.read("recommendations", pair) as connection:
        people = [user for (user,) in connection.execute(_SHOWN, [PEOPLE]).fetchall()]
        lists = connection.execute(
            "select * from recommendations where rank <= ? and list_contains(?, user_id) order by rank", [LIST, people]
        ).fetchdf()
    with warehouse.read("domain_splits", pair) as connection:
        histories = {user: connection.execute(_HISTORY, [user, HISTORY]).fetchdf() for user in people}
    return [
        Example(
            user, int(histories[user]["length"].max()), _rows(histories[user]), _rows(lists[lists["user_id"] == user])
        )
        for user in people
        if len(histories[user])
    ]


def _model(warehouse: Warehouse, pair: str) -> str:
    try:
        with warehouse.read("champion", pair) as connection:
            query = "select any_value(model), any_value(version), any_value(champion), any_value(reason) from champion"
            [(model, version, champion, reason)] = connection.execute(query).fetchall()
    except WarehouseError:
        return ""
    name = f"{model} version {version}" if model else f"version {version}"
    return f"{name}. The gate: {reason}. In use: {f'version {champion}' if champion else 'none yet'}"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(frame.to_json(orient="records"))
    return records
