"""The stage of recommendations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import duckdb
import pandas as pd
import pyarrow as pa

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.people import People
from ptupcdr_core.kernels.approximate_search import approximate_top_items, recall
from ptupcdr_core.kernels.exact_search import Block, top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file, deployed_bundle, listed
from ptupcdr_core.serving.drift import curves
from ptupcdr_core.serving.foretelling import COLUMNS, Foretelling
from ptupcdr_core.serving.lists import best_lists, may_miss_items
from ptupcdr_core.serving.long_tail import POOL, less_popular
from ptupcdr_core.serving.nights import note_night
from ptupcdr_core.serving.recommending import explained
from ptupcdr_core.serving.today import Today, rated_items
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.items import Items, may_be_recommended
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import create_table, repeated
from ptupcdr_core.store.warehouse import Warehouse

ASSET = "recommendations"
PEOPLE = 1 << 18
"""People served at a time: their ratings, histories and embeddings are in memory."""
COMMITTED = 1 << 19
"""Recommendations written in one transaction: it is kept in memory, and a short one is written twice, to the log and to
the file."""


@dataclass(frozen=True)
class Lists:
    """Makes people's lists.

    Args:
        bundle: what is deployed.
        known: what is known of the target items.
        settings: of the run.
        taken: (T+1,) how many people took each item, where ``long_tail`` is set.
    """

    bundle: Bundle
    known: Items
    settings: Settings
    taken: Floats | None

    def of(self, today: Today, metrics: dict[str, float]) -> Iterator[pa.Table]:
        """Everybody's list with its reasons and the items' titles, in blocks; counts go into ``metrics``."""
        for rows in _lists(today, self, metrics):
            titles = pa.array(map(self.known.titles.get, rows["item_id"].to_pylist()), pa.string())
            yield rows.append_column("title", titles)


Put = Callable[[duckdb.DuckDBPyConnection, Lists, Today], dict[str, float]]
"""Makes the table ``recommendations`` of everybody who is cold-start today, and returns counts by name."""


def recommend_cold_users(
    home: Home, pair: str, settings: Settings, fingerprint: str = "", items: Items | None = None
) -> StageReport:
    """The best target items of everybody who is cold-start today, from the deployed bundle (``recommendations``).

    People are folded in by their ratings in today's raw ratings, so that neither a split nor a model has to be made for
    those who came since. Where nothing is deployed, nobody is recommended anything. Only items that the catalog allows
    are recommended, those in the table ``recommendable_items``. Rows have the items' titles and, where the bundle
    predicts ratings, the predicted ones (``foretelling``). How far tonight is from what the bundle was trained on is
    noted in ``drift``.
    """
    warehouse, used = Warehouse.from_environment(home.warehouse), settings.deciding("recommendations")
    with warehouse.write(ASSET, pair, fingerprint=fingerprint, settings=used) as connection:
        return fill(connection, home, pair, settings, items or Items(), _insert)


def fill(
    connection: duckdb.DuckDBPyConnection, home: Home, pair: str, settings: Settings, known: Items, put: Put
) -> StageReport:
    """Make all tables of the partition.

    Args:
        connection: to its new file.
        home: has the bundle and the raw ratings.
        pair: the pair's key.
        settings: of the run.
        known: what is known of the target items.
        put: makes the lists.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    report = StageReport({"users": 0.0, "recommendations": 0.0})
    metrics = report.metrics
    bundle = deployed_bundle(home, pair) if bundle_file(home, DEPLOYED, pair).is_file() else None
    today = None if bundle is None else Today.of(home, bundle)
    rated = rated_items(warehouse, pair.split("__")[1]) if today is None else today.offered
    offered = may_be_recommended(rated, known)
    create_table(connection, "recommendable_items", _described(pair, offered, known))
    metrics |= {"items": float(len(offered)), "titles_known": known.known(offered.to_pylist())}
    serving = None if bundle is None or today is None else (bundle, today)
    if serving is None:
        _create(connection)
    else:
        taken = serving[1].offering(known).taken() if settings.long_tail else None
        metrics |= put(connection, Lists(serving[0], known, settings, taken), serving[1].offering(known))
    measures = note_night(connection, warehouse, pair, datetime.now(UTC).replace(tzinfo=None), serving)
    metrics |= curves(measures)
    if measures:
        report.tables["drift"] = pd.DataFrame([vars(measure) for measure in measures])
    return report


def _create(connection: duckdb.DuckDBPyConnection, *foretold: str) -> None:
    connection.execute(
        "create table recommendations (pair varchar, user_id varchar, cohort varchar, mode varchar, "  # nosec B608 # ours
        "rank integer, item_id varchar, score float, made_by varchar, bridged boolean, reasons varchar[], "
        f"reason_weights float[], title varchar{''.join(f', {name} float' for name in foretold)})"
    )


def _insert(connection: duckdb.DuckDBPyConnection, lists: Lists, today: Today) -> dict[str, float]:
    """See ``Put``."""
    _create(connection, *(COLUMNS if "rating" in lists.bundle.modes else ()))
    metrics = {"recommendations": 0.0}
    connection.begin()
    uncommitted = 0
    for rows in lists.of(today, metrics):
        connection.register("block", rows)
        connection.execute("insert into recommendations by name select * from block")
        metrics["recommendations"] += len(rows)
        uncommitted += len(rows)
        if uncommitted >= COMMITTED:
            connection.commit()
            connection.begin()
            uncommitted = 0
    connection.commit()
    return metrics


def _described(pair: str, offered: pa.Array, known: Items) -> pa.Table:
    """The items that may be recommended, with what the catalog says of them."""
    ids = offered.to_pylist()
    told = {name: pa.array(map(own.get, ids), pa.string()) for name, own in known.columns().items()}
    return pa.table({"pair": repeated(pair, len(ids)), "item_id": offered, **told})


def _lists(today: Today, lists: Lists, metrics: dict[str, float]) -> Iterator[pa.Table]:
    bundle, settings = lists.bundle, lists.settings
    (mode, _), served, everybody = bundle.mode(), today.served, today.users()
    by_graph = settings.search == "approximate" and may_miss_items(served, lists.known)
    search = approximate_top_items if by_graph else top_items
    metrics["users"] = float(len(everybody))
    for start in range(0, len(everybody), PEOPLE):
        users = everybody[start : start + PEOPLE].combine_chunks()
        ids = users["user_id"].combine_chunks()
        people = today.people(ids)
        vectors, made_by = served.part.embed(people, ids)
        wanted = settings.top_k * (POOL if settings.long_tail else 1)
        found = best_lists(served.part, people, vectors, wanted, today.seen(ids), search, cap=served.cap)
        if by_graph:
            sought = served.part.sought(people, vectors).vectors
            found = _with_recall(metrics, mode, served.part.target, sought, found)
        if lists.taken is not None:
            found = less_popular(found, lists.taken, settings.top_k, settings.long_tail)
        about = listed(bundle.pair, mode, users, served.part.lists_made_by(made_by))
        told = Foretelling.of(bundle.modes, served, people, partial(_read, today, ids))
        yield from explained(found, about, people.__getitem__, served, told)


def _read(today: Today, ids: pa.Array, served: BundledMode) -> People:
    """The same people as another mode knows them."""
    return replace(today, served=served).people(ids)


def _with_recall(
    metrics: dict[str, float], mode: str, target: TargetItems, vectors: Floats, found: Iterator[Block]
) -> Iterator[Block]:
    """Pass a search's blocks on, and put its recall for the first block's users into the metrics."""
    for start, items, scores in found:
        if start == 0:
            metrics[f"{mode}_recall"] = recall(target, vectors[: len(items)], items, scores)
        yield start, items, scores
