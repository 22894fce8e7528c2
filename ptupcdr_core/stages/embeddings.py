"""The stage of the embeddings that bridges give to cold-start users."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import PairData, load_pair, user_ids
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import embedding_column, embeddings_of, joined, repeated, write_tables
from ptupcdr_core.store.warehouse import Warehouse

ASSET = "bridged_embeddings"


def bridge_cold_users(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Give every cold-start user an embedding in the target domain, one a mode (asset ``bridged_embeddings``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    data = load_pair(warehouse, pair, everybody=True)
    ids = user_ids(warehouse, data)
    tables, metrics = [], {"users": float(len(data.cold_users))}
    for mode in modes_of(settings, data):
        tables.append(bridged_rows(data, ids, mode.name, *mode.bridge(home, data)))
        vectors = embeddings_of(tables[-1])
        metrics[f"mean_norm_{mode.name}"] = float(np.linalg.norm(vectors, axis=1).mean()) if len(vectors) else 0.0
    table = joined(tables)
    write_tables(warehouse, ASSET, pair, {ASSET: table}, settings, fingerprint)
    counts = table.select(["mode", "cohort", "made_by"]).to_pandas().value_counts().reset_index(name="users")
    return StageReport(metrics, tables={"users_by_cohort": counts})


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
    embeddings = bridge.embed(source, users)
    columns = {
        "pair": repeated(data.pair, len(users)),
        "user_id": pa.array(ids[users], pa.string()),
        "cohort": pa.array(np.where(np.isin(users, data.cohorts["test"]), "test", "cold"), pa.string()),
        "mode": repeated(mode, len(users)),
        "embedding": embedding_column(embeddings),
        "made_by": pa.array(bridge.made_by(source, users), pa.string()),
    }
    return pa.table(columns)
