"""From a bridged embedding to recommendations for one user."""

from dataclasses import dataclass

import numpy as np

from ptupcdr_core.errors import UnknownUserError
from ptupcdr_core.home import Home
from ptupcdr_core.pair_data import target_item_ids
from ptupcdr_core.serving import load_serving
from ptupcdr_core.top_items import top_items
from ptupcdr_core.warehouse import Warehouse


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Args:
        rank: from 1.
        item_id: the target item.
        score: predicted stars, within the scale.
        made_by: what made the user's embedding: bridge, common_bridge or mean.
    """

    rank: int
    item_id: str
    score: float
    made_by: str


def recommend(home: Home, pair: str, user_id: str, k: int = 10, mode: str = "rating") -> list[Recommendation]:
    """The best k target items for one cold-start user of a pair that has been materialized.

    Args:
        home: where the results are.
        pair: the pair's key.
        user_id: a user of ``bridged_embeddings``.
        k: how many items, at least 1.
        mode: which of the user's embeddings.

    Raises:
        UnknownUserError: the user is not a cold-start user of the pair.
        WarehouseError: the pair has not been materialized.
        ArtifactError: its models are missing or belong to another split.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    with warehouse.read("bridged_embeddings", pair) as connection:
        query = "select embedding, made_by from bridged_embeddings where user_id = ? and mode = ?"
        found = connection.execute(query, [user_id, mode]).fetchone()
    if found is None:
        raise UnknownUserError(
            f"{user_id!r} is not a cold-start user of {pair}: such users have source ratings and no target ratings, "
            f"or were held out for testing; `select user_id, cohort from bridged_embeddings where pair = '{pair}'` "
            f"lists them"
        )
    serving = load_serving(home, pair, mode)
    _, items, scores = next(iter(top_items(serving.target, np.array([found[0]], np.float32), k)))
    ids = target_item_ids(warehouse, pair)
    return [
        Recommendation(rank, str(ids[item]), float(score), str(found[1]))
        for rank, (item, score) in enumerate(zip(items[0], serving.shown(scores[0]), strict=True), start=1)
    ]
