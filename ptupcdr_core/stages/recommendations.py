"""The stage of recommendations."""

from collections.abc import Iterator

import pyarrow as pa

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import target_item_ids
from ptupcdr_core.kernels.approximate_search import approximate_top_items, recall
from ptupcdr_core.kernels.exact_search import Block, top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import (
    DEPLOYED,
    SplitPeople,
    bundle_file,
    cold_start_users,
    deployed_bundle,
    known_keys,
    listed,
    taken_by,
)
from ptupcdr_core.serving.lists import best_lists
from ptupcdr_core.serving.long_tail import POOL, less_popular
from ptupcdr_core.serving.recommending import explained
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.items import Items, may_be_recommended
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import create_table, repeated
from ptupcdr_core.store.warehouse import Warehouse

PEOPLE = 1 << 18
"""People served at a time: their ratings, histories and embeddings are in memory."""
COMMITTED = 1 << 19
"""Recommendations written in one transaction: it is kept in memory, and a short one is written twice, to the log and to
the file."""


def recommend_cold_users(
    home: Home, pair: str, settings: Settings, fingerprint: str = "", items: Items | None = None
) -> StageReport:
    """The best target items of everybody who is cold-start today, from the deployed bundle (``recommendations``).

    People are folded in by their ratings in the present split, so nothing has to be trained for those who came since.
    Where nothing is deployed, nobody is recommended anything. Of the items that the catalog tells of, only eligible
    ones are recommended, which stand in ``recommendable_items``, and titles stand beside their ids.
    """
    warehouse, known = Warehouse.from_environment(home.warehouse), items or Items()
    metrics = {"users": 0.0, "recommendations": 0.0}
    with warehouse.write(
        "recommendations", pair, fingerprint=fingerprint, settings=settings.model_dump()
    ) as connection:
        connection.execute(
            "create table recommendations (pair varchar, user_id varchar, cohort varchar, mode varchar, "
            "rank integer, item_id varchar, score float, made_by varchar, bridged boolean, reasons varchar[], "
            "reason_weights float[], title varchar)"
        )
        offered = may_be_recommended(pa.array(target_item_ids(warehouse, pair)[1:], pa.string()), known)
        create_table(connection, "recommendable_items", _described(pair, offered, known))
        metrics |= {"items": float(len(offered)), "titles_known": known.known(offered.to_pylist())}
        if bundle_file(home, DEPLOYED, pair).is_file():
            connection.begin()
            uncommitted = 0
            for rows in _lists(warehouse, deployed_bundle(home, pair), settings, metrics, offered, known):
                titles = pa.array(map(known.titles.get, rows["item_id"].to_pylist()), pa.string())
                rows = rows.append_column("title", titles)
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


def _described(pair: str, offered: pa.Array, known: Items) -> pa.Table:
    """The items that may be recommended, with what the catalog tells of them."""
    ids = offered.to_pylist()
    told = {name: pa.array(map(own.get, ids), pa.string()) for name, own in known.columns().items()}
    return pa.table({"pair": repeated(pair, len(ids)), "item_id": offered, **told})


def _lists(
    warehouse: Warehouse, bundle: Bundle, settings: Settings, metrics: dict[str, float], offered: pa.Array, known: Items
) -> Iterator[pa.Table]:
    """Everybody's list with its reasons, in blocks; counts are left in the metrics."""
    mode, served = bundle.mode()
    served = served.offering(known, offered)
    search = {"exact": top_items, "approximate": approximate_top_items}[settings.search]
    popularity = taken_by(warehouse, bundle.pair, served)
    split, everybody = SplitPeople.of(warehouse, bundle.pair, served), cold_start_users(warehouse, bundle.pair)
    metrics["users"] = float(len(everybody))
    for start in range(0, len(everybody), PEOPLE):
        users = everybody[start : start + PEOPLE].combine_chunks()
        people = split(users["user_index"].to_numpy())
        vectors, made_by = served.part.embed(people, users["user_id"].combine_chunks())
        hidden = known_keys(warehouse, bundle.pair, users, served)
        wanted = settings.top_k * (POOL if settings.long_tail else 1)
        found = best_lists(served.part, people, vectors, wanted, hidden, search, cap=served.cap)
        if settings.search == "approximate":
            sought = served.part.sought(people, vectors).vectors
            found = _with_recall(metrics, mode, served.part.target, sought, found)
        if settings.long_tail:
            found = less_popular(found, popularity, settings.top_k, settings.long_tail)
        about = listed(bundle.pair, mode, users, served.part.lists_made_by(made_by))
        yield from explained(found, about, people.__getitem__, served)


def _with_recall(
    metrics: dict[str, float], mode: str, target: TargetItems, vectors: Floats, found: Iterator[Block]
) -> Iterator[Block]:
    """Pass a search's blocks on, and leave its recall on the first block's users in the metrics."""
    for start, items, scores in found:
        if start == 0:
            metrics[f"{mode}_recall"] = recall(target, vectors[: len(items)], items, scores)
        yield start, items, scores
