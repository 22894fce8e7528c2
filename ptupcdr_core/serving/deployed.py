"""A home's bundles: the one that was just trained, the one that passed the gate, and the one that is deployed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import SPLIT, source_item_ids
from ptupcdr_core.data.people import People, people_of
from ptupcdr_core.errors import ArtifactError, UnknownUserError
from ptupcdr_core.serving.bundle import Bundle, NewPeople, served_people
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.foretelling import Foretelling
from ptupcdr_core.serving.lists import best_lists
from ptupcdr_core.serving.recommending import explained
from ptupcdr_core.serving.today import Today
from ptupcdr_core.settings import Mode
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store.bundles import CANDIDATE as CANDIDATE
from ptupcdr_core.store.bundles import CHAMPION as CHAMPION
from ptupcdr_core.store.bundles import DEPLOYED as DEPLOYED
from ptupcdr_core.store.bundles import bundle_file as bundle_file
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


@dataclass(frozen=True)
class Reason:
    """A source item that a recommendation rests on.

    Args:
        item_id: the source item.
        weight: by how much the score would fall had the user not rated it (see ``Part.weights``).
    """

    item_id: str
    weight: float


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Args:
        rank: from 1.
        item_id: the target item.
        score: predicted stars, within the scale; from the mode ranking a number without a unit, higher is better.
        made_by: what made the list: bridge, common_bridge, popularity or mean.
        reasons: source items of the user's history that raise the score most, most first.
        stars: the mean of the predicted rating; None where the bundle cannot say.
        likely: the probability that the user likes the item (rates it above the middle); None where the bundle cannot
            say.
    """

    rank: int
    item_id: str
    score: float
    made_by: str
    reasons: tuple[Reason, ...]
    stars: float | None = None
    likely: float | None = None


def deployed_bundle(home: Home, pair: str) -> Bundle:
    """What serves a pair's people.

    Raises:
        ArtifactError: nothing is deployed, or its file is damaged.
    """
    path = bundle_file(home, DEPLOYED, pair)
    if not path.is_file():
        raise ArtifactError(
            f"{path}: no such bundle, nothing is deployed for {pair}; make it with `ptupcdr backfill {pair}`. If the "
            "gate refused the only model there is, the table champion says why, and --no-gate deploys it anyway"
        )
    return Bundle.load(path)


def recommend(
    home: Home,
    pair: str,
    user_id: str,
    k: int = 10,
    mode: Mode | None = None,
    *,
    items: Items | None = None,
    exclude: frozenset[str] = frozenset(),
) -> list[Recommendation]:
    """The best k target items for one cold-start user of a pair, from the deployed bundle.

    Args:
        home: where the bundle and the raw ratings are.
        pair: the pair's key.
        user_id: a user with source ratings and no target ratings, except held-out ones.
        k: how many items, at least 1.
        mode: of the bundle; None: the one that recommends.
        items: what is known of the target items: only eligible ones are recommended; None: all.
        exclude: target items that are not recommended.

    Raises:
        UnknownUserError: the user is not a cold-start user of the pair.
        WarehouseError: one of the two domains was not ingested.
        ArtifactError: nothing is deployed.
    """
    bundle = deployed_bundle(home, pair)
    name, _ = bundle.mode(mode)
    today = Today.of(home, bundle, name)
    users = today.users(user_id)
    if not len(users):
        raise UnknownUserError(
            f"{user_id!r} is not a cold-start user of {pair}: such users have source ratings and no target ratings, "  # nosec B608 # a message
            f"or were held out for testing; `select user_id, cohort from recommendations where pair = '{pair}'` "
            f"lists them"
        )
    today = today.offering(items or Items(), exclude)
    ids, served = users["user_id"].combine_chunks(), today.served
    people = today.people(ids)
    vectors, made_by = served.part.embed(people, ids)
    found = best_lists(served.part, people, vectors, k, today.seen(ids), cap=served.cap)
    told = Foretelling.of(bundle.modes, served, people, lambda own: replace(today, served=own).people(ids))
    about = listed(pair, name, users, served.part.lists_made_by(made_by))
    rows = pa.concat_tables(explained(found, about, people.__getitem__, served, told))
    return [
        Recommendation(
            row["rank"],
            row["item_id"],
            row["score"],
            row["made_by"],
            tuple(map(Reason, row["reasons"], row["reason_weights"])),
            row.get("stars"),
            row.get("likely"),
        )
        for row in rows.to_pylist()
    ]


def recommend_new(
    home: Home,
    pair: str,
    ratings: pa.Table,
    k: int = 10,
    *,
    users: Iterable[str] = (),
    seen: pa.Table | None = None,
    mode: Mode | None = None,
    origin: str = "ratings",
    items: Items | None = None,
    exclude: frozenset[str] = frozenset(),
) -> NewPeople:
    """Serve people by their source ratings alone from a pair's deployed bundle: see ``Bundle.recommend``, and
    ``recommend`` for items and exclude.

    Raises:
        SourceError: a column is missing, or a value is not what it should be.
        ArtifactError: nothing is deployed.
    """
    bundle = deployed_bundle(home, pair).offering(items or Items(), exclude)
    return bundle.recommend(ratings, k, users=users, seen=seen, mode=mode, origin=origin)


def cold_start_ratings(warehouse: Warehouse, pair: str) -> pa.Table:
    """The source ratings of everybody who is cold-start in the present split, as ``Bundle.recommend`` takes them.

    Raises:
        WarehouseError: the pair has not been split.
    """
    with warehouse.read(SPLIT, pair) as connection:
        ratings: pa.Table = connection.sql(
            'select user_id, item_id, rating, "timestamp" from split_source_ratings join split_users '
            "using (user_index) join split_source_items using (item_index) where cohort in ('cold', 'test') "
            "order by user_index, item_index"
        ).to_arrow_table()
    return ratings


@dataclass(frozen=True)
class SplitPeople:
    """Reads people of the present split as a bundle's mode knows them, whatever split it was trained on.

    Args:
        warehouse: has the split.
        pair: its key.
        history_length: L, the length of the mode's histories.
        positive_above: a rating above this is positive for the mode; None: every event is.
        indices: (S+1,) the mode's index of each source item of the split, 0 where it knows none.
    """

    warehouse: Warehouse
    pair: str
    history_length: int
    positive_above: float | None
    indices: Index

    @classmethod
    def of(cls, warehouse: Warehouse, pair: str, served: BundledMode) -> "SplitPeople":
        """Match the split's source items with the mode's."""
        items = pa.array(source_item_ids(warehouse, pair), pa.string())
        indices = pc.fill_null(pc.index_in(items, value_set=served.source_ids), 0).to_numpy(zero_copy_only=False)
        reading = served.reading
        return cls(warehouse, pair, reading.history_length, reading.positive_above, indices.astype(np.int32))

    def __call__(self, users: Index) -> People:
        """These (R,) users of the split."""
        people = people_of(self.warehouse, self.pair, users, self.history_length, self.positive_above)
        same = np.array_equal(self.indices, np.arange(len(self.indices)))
        return people if same else people.renumbered(self.indices)


def listed(pair: str, mode: Mode, users: pa.Table, made_by: NDArray[np.object_]) -> pa.Table:
    """Users of ``Today`` as ``recommendation_rows`` takes them."""
    return served_people(pair, mode, users["cohort"], users["user_id"], made_by)
