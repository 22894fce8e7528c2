"""What the test users would be shown: a few lists by their titles, and how the places are divided among groups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import PairData, Side, load_pair, source_item_ids, target_item_ids, user_ids
from ptupcdr_core.report.sections import Section, percent
from ptupcdr_core.serving.bundle import Bundle, seen_keys
from ptupcdr_core.serving.deployed import CANDIDATE, SplitPeople, bundle_file
from ptupcdr_core.serving.lists import best_lists
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

PEOPLE, PLACES, ITEMS, GROUPS = 3, 10, 5, 12
"""Shown: so many people and items of each; places of a list; groups, those that are taken most."""


@dataclass(frozen=True)
class Lists:
    """The lists of R test users by the newly trained models.

    Args:
        data: the split.
        users: (R,) their indices.
        items: (R, K) ids of target items, best first; empty where there are fewer.
    """

    data: PairData
    users: Index
    items: NDArray[np.object_]


def lists_of_test_users(home: Home, pair: str) -> Lists:
    """Make the test users' lists, out of all items.

    Raises:
        WarehouseError: the pair was not split.
        ArtifactError: nothing was trained.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    data, (_, served) = load_pair(warehouse, pair), Bundle.load(bundle_file(home, CANDIDATE, pair)).mode()
    served = served.among(pa.array(target_item_ids(warehouse, pair), pa.string()))
    users = data.cohorts["test"]
    people = SplitPeople.of(warehouse, pair, served)(users)
    vectors, _ = served.part.embed(people, pa.array(user_ids(warehouse, pair)[users], pa.string()))
    nothing = seen_keys(None, served.target_ids, served.target_ids)
    found = [items for _, items, _ in best_lists(served.part, people, vectors, PLACES, nothing)]
    ids = served.target_ids.to_numpy(zero_copy_only=False)
    return Lists(data, users, ids[np.concatenate(found)])


def some_lists(home: Home, lists: Lists, known: Mapping[Side, Items]) -> Section:
    """What a few people took and what they would be shown, those with the longest histories."""
    data, warehouse = lists.data, Warehouse.from_environment(home.warehouse)
    lengths = (data.histories[lists.users] > 0).sum(1)
    users, sources = user_ids(warehouse, data.pair), source_item_ids(warehouse, data.pair)
    caption = [
        f"The last items of {PEOPLE} test users in the source, newest first, and the items that they would be shown "
        "first in the target."
    ]
    tables = []
    for row in np.argsort(-lengths, kind="stable")[:PEOPLE]:
        user = lists.users[row]
        history = data.histories[user, : lengths[row]][::-1][:ITEMS]
        columns = {
            "took": [known["source"].title(str(sources[item])) for item in history],
            "is shown": [known["target"].title(str(item)) for item in lists.items[row, :ITEMS] if item],
        }
        tables.append((f"person {users[user]}", pd.DataFrame({name: pd.Series(own) for name, own in columns.items()})))
    return Section("examples", "Some lists", caption, tables=[(name, table.fillna("")) for name, table in tables])


def by_group(home: Home, lists: Lists, known: Items) -> list[Section]:
    """How much of what is taken of each group the lists find; nothing where the catalog knows no groups."""
    if not known.groups:
        return []
    ids = target_item_ids(Warehouse.from_environment(home.warehouse), lists.data.pair)
    test = lists.data.target_test
    taken = pd.DataFrame({"user": test.users, "item_id": ids[test.items]})
    places = pd.DataFrame({"user": np.repeat(lists.users, lists.items.shape[1]), "item_id": lists.items.ravel()})
    places = places[places["item_id"] != ""]
    taken = taken.merge(places.assign(found=1), how="left", on=["user", "item_id"]).fillna({"found": 0})
    groups = pd.DataFrame({"items": pd.Series(ids[1:]).map(_group(known)).value_counts()})
    taken, places = (rows.assign(group=rows["item_id"].map(_group(known))) for rows in (taken, places))
    groups = groups.assign(
        taken=taken["group"].value_counts(),
        found=taken.groupby("group")["found"].mean(),
        shown=places["group"].value_counts(normalize=True),
    )
    most = groups.sort_values("taken", ascending=False).head(GROUPS).fillna(0)
    shown = pd.DataFrame(
        {
            "group": most.index,
            "items": most["items"].map("{:,.0f}".format),
            "taken by test users": most["taken"].map("{:,.0f}".format),
            f"of these in the first {PLACES}": most["found"].map(percent),
            "share of all places": most["shown"].map(percent),
        }
    )
    caption = ["A group that is taken often and has few places is one that the lists overlook."]
    return [Section("groups", "For which items it works", caption, tables=[("group", shown)])]


def _group(known: Items) -> Callable[[str], str]:
    return lambda item: known.groups.get(item, "(no group)")
