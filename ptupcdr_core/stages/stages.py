"""The stage of recommendations."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import load_outline, user_ids
from ptupcdr_core.data.people import People, people_of
from ptupcdr_core.kernels.approximate_search import approximate_top_items, recall
from ptupcdr_core.kernels.exact_search import Block, top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.deployment import Deployment
from ptupcdr_core.serving.recommending import Ids, explained
from ptupcdr_core.serving.serving import load_serving
from ptupcdr_core.serving.unseen import unseen_items
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import embeddings_of
from ptupcdr_core.store.warehouse import Warehouse

COMMITTED = 1 << 19
"""Recommendations written in one transaction: it is kept in memory, and a short one is written twice, to the log and to
the file."""


def recommend_cold_users(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """The best target items of every cold-start user, from the ranking side where there is one (``recommendations``).

    Evaluated models leave nothing out as already seen: what a cold-start user has rated in the target are, at most, a
    test user's held-out ratings, which the lists must be free to find. Models that were fitted again know these
    ratings, and their lists leave them out.
    """
    warehouse, deployment = Warehouse.from_environment(home.warehouse), Deployment.of(home, pair)
    ids = Ids.of(warehouse, pair)
    length = load_outline(warehouse, pair).history_length
    metrics, mode = {"users": 0.0, "recommendations": 0.0}, settings.modes[-1]
    search = {"exact": top_items, "approximate": approximate_top_items}[settings.search]
    with warehouse.write(
        "recommendations", pair, fingerprint=fingerprint, settings=settings.model_dump()
    ) as connection:
        connection.execute(
            "create table recommendations (pair varchar, user_id varchar, cohort varchar, mode varchar, "
            "rank integer, item_id varchar, score float, made_by varchar, bridged boolean, reasons varchar[], "
            "reason_weights float[])"
        )
        serving = load_serving(deployment.home, pair, mode)
        users, indices, vectors = _bridged_users(warehouse, deployment, mode)
        metrics["users"] = float(len(users))
        found = search(serving.target, vectors, settings.top_k)
        if settings.search == "approximate":
            found = _with_recall(metrics, mode, serving.target, vectors, found)
        found = unseen_items(found, serving.target, vectors, deployment.seen(indices))

        def people(block: slice) -> People:
            return people_of(warehouse, pair, indices[block], length)

        connection.begin()
        uncommitted = 0
        for rows in explained(found, users, people, serving, ids):
            connection.register("block", rows)
            connection.execute("insert into recommendations by name select * from block")
            metrics["recommendations"] += len(rows)
            uncommitted += len(rows)
            if uncommitted >= COMMITTED:
                connection.commit()
                connection.begin()
                uncommitted = 0
        connection.commit()
    return StageReport(metrics)


def _with_recall(
    metrics: dict[str, float], mode: str, target: TargetItems, vectors: Floats, found: Iterator[Block]
) -> Iterator[Block]:
    """Pass a search's blocks on, and leave its recall on the first block's users in the metrics."""
    for start, items, scores in found:
        if start == 0:
            metrics[f"{mode}_recall"] = recall(target, vectors[: len(items)], items, scores)
        yield start, items, scores


def _bridged_users(warehouse: Warehouse, deployment: Deployment, mode: Mode) -> tuple[pa.Table, Index, Floats]:
    """The mode's R cold-start users without their embeddings; (R,) their user indices; and the embeddings, (R, E)
    float32."""
    ids = pa.array(user_ids(warehouse, deployment.pair), pa.string())
    users = deployment.users(mode)
    indices = pc.index_in(users["user_id"], value_set=ids).to_numpy().astype(np.int32)
    return users.drop_columns("embedding"), indices, embeddings_of(users)
