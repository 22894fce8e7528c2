"""From bridged embeddings to recommendations.

Shapes: R users, T target items, E coordinates of an embedding, K recommendations a user.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ptupcdr_core.checkpoints import load_bridge_task
from ptupcdr_core.errors import UnknownUserError
from ptupcdr_core.home import Home
from ptupcdr_core.models.scorer import TargetItems
from ptupcdr_core.pair_data import Floats, load_pair, target_item_ids
from ptupcdr_core.warehouse import Warehouse

CELLS = 1 << 25
"""Scores held at a time (128 MB), however many users and items there are."""


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


def top_items(target: TargetItems, user_vectors: Floats, count: int) -> Iterator[tuple[int, NDArray[np.int64], Floats]]:
    """The best target items of many users by exact search, a block of users at a time.

    Args:
        target: offsets and vectors (T+1, E) of the items.
        user_vectors: (R, E) float32.
        count: K, at least 1; fewer where there are fewer items.

    Yields:
        The block's first row, then (B, K) item indices, best first (ties: the lower index), and their (B, K) scores.
    """
    items = torch.from_numpy(target.vectors[1:]).T.contiguous()
    offset = torch.from_numpy(target.offset[1:])
    block = max(1, CELLS // max(len(offset), 1))
    for start in range(0, len(user_vectors), block):
        scores = torch.addmm(offset, torch.from_numpy(user_vectors[start : start + block]), items)
        places = _best(scores, min(count, len(offset)))
        yield start, places.numpy() + 1, scores.gather(1, places).numpy()


def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """(B, K) places of the highest scores (B, T), the lower place first among equals."""
    best = torch.topk(scores, count, dim=1)
    order = torch.from_numpy(np.lexsort((best.indices.numpy(), -best.values.numpy()), axis=1))
    places = best.indices.gather(1, order)
    # Which of several equal scores are the last among the best, topk leaves open: those rows are sorted in full.
    open_rows = ((scores >= best.values[:, -1:]).sum(1) > count).nonzero()[:, 0]
    if len(open_rows):
        places[open_rows] = torch.sort(scores[open_rows], dim=1, descending=True, stable=True).indices[:, :count]
    return places


def recommend(home: Home, pair: str, user_id: str, k: int = 10) -> list[Recommendation]:
    """The best k target items for one cold-start user of a pair that has been materialized.

    Args:
        home: where the results are.
        pair: the pair's key.
        user_id: a user of ``bridged_embeddings``.
        k: how many items, at least 1.

    Raises:
        UnknownUserError: the user is not a cold-start user of the pair.
        WarehouseError: the pair has not been materialized.
        ArtifactError: its models are missing or belong to another split.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    with warehouse.read("bridged_embeddings", pair) as connection:
        query = "select embedding, made_by from bridged_embeddings where user_id = ? and mode = 'rating'"
        found = connection.execute(query, [user_id]).fetchone()
    if found is None:
        raise UnknownUserError(
            f"{user_id!r} is not a cold-start user of {pair}: such users have source ratings and no target ratings, "
            f"or were held out for testing; `select user_id, cohort from bridged_embeddings where pair = '{pair}'` "
            f"lists them"
        )
    data = load_pair(warehouse, pair)
    target = load_bridge_task(home, data).target
    _, items, scores = next(iter(top_items(target, np.array([found[0]], np.float32), k)))
    ids = target_item_ids(warehouse, pair)
    return [
        Recommendation(rank, str(ids[item]), float(score), str(found[1]))
        for rank, (item, score) in enumerate(zip(items[0], data.target_scale.clip(scores[0]), strict=True), start=1)
    ]
