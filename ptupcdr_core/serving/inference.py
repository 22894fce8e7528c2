"""From what people rated in the source domain to recommendations in the target domain.

``recommend`` serves a cold-start user whose embedding stands in the warehouse; ``recommend_new`` serves people whom the
models have never seen, by folding their ratings into the source space.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.newcomers import newcomers
from ptupcdr_core.data.pair_data import load_outline, user_ids
from ptupcdr_core.data.people import people_of
from ptupcdr_core.errors import UnknownUserError
from ptupcdr_core.kernels.exact_search import top_items
from ptupcdr_core.serving.deployment import Deployment
from ptupcdr_core.serving.recommending import Ids, explained, recommendation_rows
from ptupcdr_core.serving.serving import load_serving, served_mode
from ptupcdr_core.serving.unseen import unseen_items
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

NEW = "new"
"""The cohort of people who arrived after training."""


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
        score: predicted stars, within the scale; from the ranking side a number without a unit, higher is better.
        made_by: what made the user's embedding: bridge, common_bridge or mean.
        reasons: source items of the user's history that raise the score most, most first.
    """

    rank: int
    item_id: str
    score: float
    made_by: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class NewPeople:
    """R people folded in after training, by user id.

    Args:
        user_ids: (R,) text.
        embeddings: (R, Y) float32 in the target domain.
        made_by: (R,) bridge; common_bridge where no known source item was rated above the middle; mean, the average
            target user, where no known source item was rated at all.
        known_items: (R,) rated source items that the models know.
        unknown_items: (R,) others, which were ignored.
        recommendations: columns of the warehouse's table ``recommendations``, with the cohort ``new``.
    """

    user_ids: NDArray[np.object_]
    embeddings: Floats
    made_by: NDArray[np.object_]
    known_items: NDArray[np.int64]
    unknown_items: NDArray[np.int64]
    recommendations: pa.Table


def recommend(home: Home, pair: str, user_id: str, k: int = 10, mode: Mode | None = None) -> list[Recommendation]:
    """The best k target items for one cold-start user of a pair that has been materialized.

    Args:
        home: where the results are.
        pair: the pair's key.
        user_id: a user of ``bridged_embeddings``.
        k: how many items, at least 1.
        mode: which of the user's embeddings; None: the one that the stored recommendations come from.

    Raises:
        UnknownUserError: the user is not a cold-start user of the pair.
        WarehouseError: the pair has not been materialized.
        ArtifactError: its models are missing or belong to another split.
    """
    warehouse, mode = Warehouse.from_environment(home.warehouse), mode or served_mode(home, pair)
    deployment = Deployment.of(home, pair)
    user = deployment.users(mode, user_id)
    if not len(user):
        raise UnknownUserError(
            f"{user_id!r} is not a cold-start user of {pair}: such users have source ratings and no target ratings, "
            f"or were held out for testing; `select user_id, cohort from bridged_embeddings where pair = '{pair}'` "
            f"lists them"
        )
    serving = load_serving(deployment.home, pair, mode)
    index = np.flatnonzero(user_ids(warehouse, pair) == user_id).astype(np.int32)
    vector = np.array(user["embedding"].to_pylist(), np.float32)
    found = unseen_items(top_items(serving.target, vector, k), serving.target, vector, deployment.seen(index))
    _, items, scores = next(found)
    people = people_of(warehouse, pair, index, load_outline(warehouse, pair).history_length)
    rows = recommendation_rows(user, people, serving, items, scores, Ids.of(warehouse, pair))
    return [
        Recommendation(
            row["rank"],
            row["item_id"],
            row["score"],
            row["made_by"],
            tuple(map(Reason, row["reasons"], row["reason_weights"])),
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
) -> NewPeople:
    """Fold people into a trained pair by their source ratings, bridge them, and find their best k target items.

    Nothing is trained or stored; the models are those that the pair's last run deployed. A person who was in training
    comes out almost where training put them.

    Args:
        home: where the results are.
        pair: the pair's key.
        ratings: columns user_id, item_id, rating and, for the order of the history, timestamp (seconds or ISO dates).
        k: how many items, at least 1.
        users: ids of people to be served who may have no rating.
        seen: columns user_id, item_id: target items that are not to be recommended to these people.
        mode: which models; None: those that the stored recommendations come from.
        origin: what messages call the ratings, such as the name of their file.

    Raises:
        SourceError: a column is missing, or a value is not what it should be.
        WarehouseError: the pair has not been materialized.
        ArtifactError: its models are missing or belong to another split.
    """
    warehouse, mode = Warehouse.from_environment(home.warehouse), mode or served_mode(home, pair)
    serving = load_serving(Deployment.of(home, pair).home, pair, mode)
    new = newcomers(warehouse, load_outline(warehouse, pair), ratings, users=users, origin=origin)
    embeddings, made_by = serving.embed(new.people)
    ids = Ids.of(warehouse, pair)
    served = pa.table(
        {
            "pair": pa.repeat(pair, len(made_by)),
            "user_id": new.user_ids,
            "cohort": pa.repeat(NEW, len(made_by)),
            "mode": pa.repeat(mode, len(made_by)),
            "made_by": pa.array(made_by, pa.string()),
        }
    )
    found = top_items(serving.target, embeddings, k)
    found = unseen_items(found, serving.target, embeddings, _keys(seen, new.user_ids, ids))
    return NewPeople(
        new.user_ids.to_numpy(zero_copy_only=False),
        embeddings,
        made_by,
        new.known_items,
        new.unknown_items,
        pa.concat_tables(explained(found, served, new.people.__getitem__, serving, ids)),
    )


def _keys(seen: pa.Table | None, people: pa.Array, ids: Ids) -> NDArray[np.int64]:
    """One number for each pair of a person (by place) and a target item that this person has seen."""
    if seen is None:
        return np.zeros(0, np.int64)
    person = pc.index_in(seen["user_id"].cast(pa.string()), value_set=people)
    item = pc.index_in(seen["item_id"].cast(pa.string()), value_set=ids.target)
    keys = pc.add(pc.multiply(person.cast(pa.int64()), len(ids.target)), item.cast(pa.int64()))
    return np.asarray(pc.unique(keys.drop_null()).to_numpy())
