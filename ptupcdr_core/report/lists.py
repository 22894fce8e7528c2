"""The page of a pair whose domains have no stars: how good the lists are, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.evaluation.significance import PairedLists, compare, pair_lists
from ptupcdr_core.report.style import style
from ptupcdr_core.report.verdict import Verdict, signed
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

METRIC, BASELINE = "ndcg_at_10", "popularity"
_EXPLANATIONS = {
    "popularity": "the most popular items, the same for everybody",
    "kernel_ridge": "people alike in the source are alike in the target",
    "item_knn": "what people with the same source items took",
    "cgsp": "source items as a signal, filtered by a graph of both domains",
    "joint_als": "one factorization of both domains",
    "emcdr": "one map for everybody, from user embedding to user embedding",
    "common_bridge": "one bridge for everybody",
    "personal_bridge": "each person's own bridge, alone",
    "ptupcdr": "each person's own bridge, with the parts that proved to help",
}


@dataclass(frozen=True)
class ListFacts:
    """What the page of lists is made from.

    Args:
        pair: its key.
        rankings: a row a method, best first: the measures of its lists.
        lists: the methods' NDCG@10 by user.
        labels: recipe, beta, seed, base_model, users, ratings of the evaluation.
    """

    pair: str
    rankings: pd.DataFrame
    lists: PairedLists
    labels: Mapping[str, Any]


def gather_lists(home: Home, pair: str) -> ListFacts:
    """Read what a pair's evaluation says of lists.

    Raises:
        WarehouseError: the pair has not been evaluated, or has no lists.
    """
    with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair) as connection:
        found = connection.execute(
            "select * from cold_start_evaluation where mode = 'ranking' order by ndcg_at_10 desc"
        ).fetchdf()
        if found.empty:
            raise WarehouseError(f"cold_start_evaluation of {pair} has no lists: `ptupcdr backfill {pair}` makes them")
        by_user = connection.execute("select method, user_id, ratings, ndcg_at_10 from cold_start_rankings").fetchdf()
    return ListFacts(pair, found, pair_lists(by_user), found.iloc[0].to_dict())


def judge_lists(facts: ListFacts) -> Verdict:
    """Compare every method's lists with the most popular items, Holm-corrected over the methods."""
    scores = facts.rankings.set_index("method")
    others = [method for method in scores.index if method != BASELINE]
    table = compare(facts.lists, [(method, BASELINE) for method in others]).set_index("first")
    own, ratio = table.loc["ptupcdr"], scores.loc["ptupcdr", METRIC] / max(scores.loc[BASELINE, METRIC], 1e-12)
    said = (
        "find significantly more of what people took than" if own["difference"] > 0 else "find significantly less than"
    )
    headline = (
        f"PTUPCDR's lists {said if own['different'] else 'are not significantly different from'} the most popular "
    )
    explanation = (
        f"NDCG@10 {scores.loc['ptupcdr', METRIC]:.4f} against {scores.loc[BASELINE, METRIC]:.4f} ({ratio:.2f} times), "
        f"a difference of {signed(own['difference'])} (95 % interval {signed(own['low'])} to {signed(own['high'])})."
    )
    return Verdict(headline + "items.", explanation, [_row(name, scores, table) for name in scores.index])


def _row(method: str, scores: pd.DataFrame, differences: pd.DataFrame) -> dict[str, object]:
    own = scores.loc[method]
    row: dict[str, object] = {
        "name": style(method).name,
        "explanation": _EXPLANATIONS.get(method, ""),
        METRIC: f"{own[METRIC]:.4f}",
        f"{METRIC}_interval": f"{own[f'{METRIC}_low']:.3f}–{own[f'{METRIC}_high']:.3f}",
        f"{METRIC}_best": own[METRIC] == scores[METRIC].max(),
    }
    if method == BASELINE:
        return {**row, "difference": "", "verdict": "the same for everybody"}
    found = differences.loc[method]
    words = "better" if found["difference"] > 0 else "worse"
    verdict = words if found["different"] else "no significant difference"
    return {**row, "difference": signed(found["difference"]), "verdict": verdict}
