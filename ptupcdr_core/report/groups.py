"""How the places of the test users' lists are divided among groups of items."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import PairData, load_pair, target_item_ids, user_ids
from ptupcdr_core.report.sections import Section, percent
from ptupcdr_core.serving.bundle import Bundle, seen_keys
from ptupcdr_core.serving.deployed import CANDIDATE, SplitPeople, bundle_file
from ptupcdr_core.serving.lists import best_lists
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

PLACES, GROUPS = 10, 12
"""Places of a list; and groups that are shown, those that are taken most."""


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
    """Make the test users' lists from all target items.

    Raises:
        WarehouseError: the pair was not split.
        ArtifactError: nothing was trained.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    data, (_, served) = load_pair(warehouse, pair), Bundle.load(bundle_file(home, CANDIDATE, pair)).mode()
    served = served.among(pa.array(target_item_ids(warehouse, pair), pa.string()))
    users = data.cohorts["test"]
    people = SplitPeople.of(warehouse, pair, served)(data.in_split(users))
    vectors, _ = served.part.embed(people, pa.array(user_ids(warehouse, data)[users], pa.string()))
    nothing = seen_keys(None, served.target_ids, served.target_ids)
    found = [items for _, items, _ in best_lists(served.part, people, vectors, PLACES, nothing)]
    ids = served.target_ids.to_numpy(zero_copy_only=False)
    return Lists(data, users, ids[np.concatenate(found)])


def by_group(home: Home, lists: Lists, known: Items) -> Section:
    """Of what test users took of each group, the share that the lists find."""
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
    return Section("groups", "For which items it works", caption, tables=[("group", shown)])


def _group(known: Items) -> Callable[[str], str]:
    return lambda item: known.groups.get(item, "(no group)")
