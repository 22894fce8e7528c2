"""Evaluations on a pair's held-out users, as the command line shows them."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console

from ptupcdr_core.catalog import Pair
from ptupcdr_core.evaluation.beyond_accuracy import COLUMNS
from ptupcdr_core.experiments.readout import read_evaluation, read_serving
from ptupcdr_core.experiments.sources import beside_single_sources, for_people
from ptupcdr_core.modes.ranking.cold_start import RANKING_COLUMNS
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.cli.printing import print_frame, say

SERVES = {
    "new": "the new model serves",
    "kept": "not the new model but the champion serves, as before",
    "nothing": "the new model was refused and there is no other: nothing serves",
}


def print_evaluations(console: Console, home: Home, pairs: Sequence[Pair]) -> None:
    """Print errors and lists of every method, several sources compared with each alone, and what serves."""
    for chosen in pairs:
        pair = chosen.key
        frame = read_evaluation(home, pair).drop(columns="pair")
        ratings = frame[frame["mode"] == "rating"].drop(columns=["mode", *RANKING_COLUMNS]).sort_values("rmse")
        if len(ratings):
            print_frame(console, ratings, f"{pair}: errors on held-out users, best first")
        rankings = frame[frame["mode"] == "ranking"].sort_values("ndcg_at_10", ascending=False)
        if len(rankings):
            title = f"{pair}: lists for held-out users out of all target items, best first"
            measures = [name for name in RANKING_COLUMNS if name not in COLUMNS]
            print_frame(console, rankings[["method", "users", *measures]], title)
            print_frame(console, rankings[["method", *COLUMNS]], f"{pair}: what these lists show beside being right")
        _print_beside(console, pair, beside_single_sources(home, chosen))
        for row in read_serving(home, pair).to_dict("records"):
            gate = ", whatever the gate said" if row["gate"] == "off" else ""
            say(console, f"{pair}, {row['mode']}: {SERVES[row['serves']]}{gate} ({row['reason']})")


def _print_beside(console: Console, pair: str, beside: pd.DataFrame) -> None:
    for mode, own in beside.groupby("mode"):
        title = f"{pair}, {mode}: the personal bridge beside that of each source alone, on the test users of all"
        told = ": _more by how much a source alone is more than all together, _p how probable that is by chance"
        print_frame(console, for_people(own), title + told)
