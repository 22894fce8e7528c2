"""The cold-start evaluation of ranked lists: every method on the same test users, in total and by user."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.evaluation.beyond_accuracy import COLUMNS as BEYOND
from ptupcdr_core.evaluation.beyond_accuracy import Shelf
from ptupcdr_core.evaluation.labels import labels
from ptupcdr_core.evaluation.rankings import MEASURES, Rankings, rank_by_vectors
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.cgsp import cgsp
from ptupcdr_core.methods.kernel_ridge import kernel_ridge
from ptupcdr_core.methods.lists import Rank, Rows, item_knn, popularity
from ptupcdr_core.modes.ranking.bridging import RankingBridges, RankingTask
from ptupcdr_core.modes.ranking.joint import JointFactors
from ptupcdr_core.modes.ranking.parts import Parts
from ptupcdr_core.settings import Settings

RANKING_COLUMNS = (*MEASURES, "ndcg_at_10_low", "ndcg_at_10_high", *BEYOND)
"""Measures of a method's lists in the evaluation's table; null in the rows of predicted ratings."""


def evaluate_rankings(
    data: PairData,
    task: RankingTask,
    bridges: RankingBridges,
    parts: Parts,
    joint: JointFactors,
    settings: Settings,
    ids: NDArray[np.object_],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank all target items for every test user by every method.

    Args:
        data: the pair's split.
        task: its frozen vectors.
        bridges: trained between them.
        parts: what lists are made from beside the personal bridge: ``ptupcdr`` is all of it together.
        joint: the baseline ``joint_als``.
        settings: written into each row.
        ids: (U+1,) user ids by index.

    Returns:
        One row a method: the measures of ``evaluation.rankings``, the ends of NDCG@10's 95 % interval, and those of
        ``evaluation.beyond_accuracy``. And one row a method and test user.
    """
    users = np.unique(data.target_test.users)
    rows = Rows.of(data)
    methods: dict[str, Rank] = {
        "popularity": popularity(data),
        "kernel_ridge": kernel_ridge(data, rows),
        "item_knn": item_knn(data, rows),
        "cgsp": cgsp(data, rows),
    }
    source = data.source.of_users(users, data.user_count)
    folded = joint.fold_in(source, data.user_count)
    nothing = np.zeros(len(joint.target), np.float32)
    methods["joint_als"] = lambda users, taken: rank_by_vectors(
        TargetItems(joint.target, nothing), folded[users], users, taken
    )
    alone = {"emcdr": bridges.emcdr, "common_bridge": bridges.common, "personal_bridge": bridges.personal}
    for name, bridge in alone.items():
        methods[name] = lambda users, taken, bridge=bridge: rank_by_vectors(  # type: ignore[misc]
            task.target, bridge.embed(task, users), users, taken
        )

    def by_parts(users: Index, taken: Ratings) -> Rankings:
        rows = np.searchsorted(users, source.users).astype(np.int32) + np.int32(1)
        own = replace(source, users=rows)
        vectors = parts.vectors(bridges.personal.embed(task, users), own)
        return rank_by_vectors(parts.target(task.target), vectors, users, taken, parts.extra(own, len(users)))

    methods["ptupcdr"] = by_parts
    shelf, summaries, details, ranked = Shelf.of(data), [], [], dict[str, Rankings]()
    for name, rank in methods.items():
        same = name == "personal_bridge" and not bridges.personal.strength
        found = ranked[name] = ranked["common_bridge"] if same else rank(users, data.target_test)
        about = labels(data.pair, name, "ranking", settings, "ials")
        summaries.append({**about, **_summary(found, shelf)})
        own = {"user_id": ids[users], "ratings": found.counts, **found.values}
        details.append(pd.DataFrame({**about, **own}))
    return pd.DataFrame(summaries), pd.concat(details, ignore_index=True)


def _summary(found: Rankings, shelf: Shelf) -> dict[str, float]:
    low, high = found.interval("ndcg_at_10")
    return {
        "users": len(found.users),
        "ratings": int(found.counts.sum()),
        **found.means(),
        "ndcg_at_10_low": low,
        "ndcg_at_10_high": high,
        **shelf.measures(found.top),
    }
