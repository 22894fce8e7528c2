"""The stage of the embeddings that bridges give to cold-start users."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import SPLIT, PairData, last_user, load_pair, user_ids
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import CANDIDATE, SplitPeople, bundle_file
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import embedding_column, embeddings_of, joined, repeated, write_tables
from ptupcdr_core.store.warehouse import Warehouse

ASSET = "bridged_embeddings"
USERS = 1 << 16
"""Users of the split who are folded in at a time, where a bundle bridges them."""


def bridge_cold_users(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Give every cold-start user an embedding in the target domain, one a mode (asset ``bridged_embeddings``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    tables, metrics = list[pa.Table](), dict[str, float]()
    for mode, rows in _rows(home, warehouse, pair, settings):
        tables.append(rows)
        metrics["users"] = float(len(rows))
        vectors = embeddings_of(rows)
        metrics[f"mean_norm_{mode}"] = float(np.linalg.norm(vectors, axis=1).mean()) if len(vectors) else 0.0
    table = joined(tables)
    write_tables(warehouse, ASSET, pair, {ASSET: table}, settings, fingerprint)
    counts = table.select(["mode", "cohort", "made_by"]).to_pandas().value_counts().reset_index(name="users")
    return StageReport(metrics, tables={"users_by_cohort": counts})


def _rows(home: Home, warehouse: Warehouse, pair: str, settings: Settings) -> Iterator[tuple[Mode, pa.Table]]:
    """Each mode's rows. A bridge of which only some people were read knows the others as its bundle does."""
    data = load_pair(warehouse, pair)
    if data.people is None:
        ids = user_ids(warehouse, data)
        for mode in modes_of(settings, data):
            yield mode.name, bridged_rows(data, ids, mode.name, *mode.bridge(home, data))
        return
    bundle, last = Bundle.load(bundle_file(home, CANDIDATE, pair)), last_user(warehouse, pair)
    blocks = [folded_rows(warehouse, pair, bundle, first, first + USERS - 1) for first in range(1, last + 1, USERS)]
    for name in bundle.modes:
        yield name, pa.concat_tables([block[name] for block in blocks if block])


def folded_rows(warehouse: Warehouse, pair: str, bundle: Bundle, first: int, last: int) -> dict[Mode, pa.Table]:
    """By mode, the cold-start users with an index from first to last, with the embeddings that a bundle gives them. If
    they were in its training, these are the bridge's, except for rounding. Empty where there are none.
    """
    with warehouse.read(SPLIT, pair) as connection:
        users: pa.Table = connection.sql(
            "select user_index, user_id, cohort from split_users where cohort in ('cold', 'test') "
            "and user_index between ? and ? order by user_index",
            params=[first, last],
        ).to_arrow_table()
    ids, indices = users["user_id"].combine_chunks(), users["user_index"].to_numpy().astype(np.int32)
    found = dict[Mode, pa.Table]()
    for mode, served in bundle.modes.items() if len(users) else ():
        found[mode] = _table(
            pair, mode, ids, users["cohort"], *served.part.embed(SplitPeople.of(warehouse, pair, served)(indices), ids)
        )
    return found


def bridged_rows(
    data: PairData, ids: NDArray[np.object_], mode: Mode, source: SourceSide, bridge: PersonalBridge
) -> pa.Table:
    """Every cold-start user of a pair once, with the embedding that a mode's bridge gives.

    Args:
        data: the pair's split.
        ids: (U+1,) user ids by index.
        mode: of the bridge.
        source: what the bridge reads.
        bridge: of that mode.
    """
    users = data.cold_users
    cohorts = pa.array(np.where(np.isin(users, data.cohorts["test"]), "test", "cold"), pa.string())
    embeddings, made_by = bridge.embed(source, users), bridge.made_by(source, users)
    return _table(data.pair, mode, pa.array(ids[users], pa.string()), cohorts, embeddings, made_by)


def _table(
    pair: str, mode: Mode, ids: pa.Array, cohorts: pa.Array, embeddings: Floats, made_by: NDArray[np.object_]
) -> pa.Table:
    columns = {
        "pair": repeated(pair, len(ids)),
        "user_id": ids,
        "cohort": cohorts,
        "mode": repeated(mode, len(ids)),
        "embedding": embedding_column(embeddings),
        "made_by": pa.array(made_by, pa.string()),
    }
    return pa.table(columns)
