"""The cold-start evaluation of ranked lists: every method on the same test users, in sum and by user."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.evaluation.labels import labels
from ptupcdr_core.evaluation.rankings import MEASURES, Rankings, rank_by_vectors
from ptupcdr_core.methods.lists import Rank, ranking_baselines
from ptupcdr_core.modes.ranking.bridging import RankingBridges, RankingTask
from ptupcdr_core.settings import Settings

RANKING_COLUMNS = (*MEASURES, "ndcg_at_10_low", "ndcg_at_10_high", "coverage_at_10")
"""Measures of a method's lists in the evaluation's table; empty for the errors of predicted ratings."""


def evaluate_rankings(
    data: PairData, task: RankingTask, bridges: RankingBridges, settings: Settings, ids: NDArray[np.object_]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank all target items for every test user by every method.

    Args:
        data: the pair's split.
        task: its frozen vectors.
        bridges: trained between them.
        settings: stand beside each row.
        ids: (U+1,) user ids by index.

    Returns:
        One row a method: the measures of ``ranking.evaluation``, the ends of NDCG@10's 95 % interval, and coverage, the
        share of target items in anybody's first ten. And one row a method and test user.
    """
    users = np.unique(data.target_test.users)
    methods: dict[str, Rank] = ranking_baselines(data)
    for name, bridge in {"emcdr": bridges.emcdr, "common_bridge": bridges.common, "ptupcdr": bridges.personal}.items():
        methods[name] = lambda users, taken, bridge=bridge: rank_by_vectors(  # type: ignore[misc]
            task.target, bridge.embed(task, users), users, taken
        )
    summaries, details = [], []
    for name, rank in methods.items():
        found = rank(users, data.target_test)
        about = labels(data.pair, name, "ranking", settings, "ials")
        summaries.append({**about, **_summary(found, data.target_item_count)})
        own = {"user_id": ids[users], "ratings": found.counts, **found.values}
        details.append(pd.DataFrame({**about, **own}))
    return pd.DataFrame(summaries), pd.concat(details, ignore_index=True)


def _summary(found: Rankings, item_count: int) -> dict[str, float]:
    low, high = found.interval("ndcg_at_10")
    return {
        "users": len(found.users),
        "ratings": int(found.counts.sum()),
        **found.means(),
        "ndcg_at_10_low": low,
        "ndcg_at_10_high": high,
        "coverage_at_10": found.items_shown / item_count,
    }
