"""A pair of several sources compared with each of them alone."""

import pandas as pd

from ptupcdr_core.catalog import Pair
from ptupcdr_core.experiments.sources import MEASURES, beside_single_sources, for_people, probability
from ptupcdr_core.report.sections import Section
from ptupcdr_core.report.verdict import signed
from ptupcdr_core.store.home import Home

WORDS = {"mae": "MAE", "rmse": "RMSE", "ndcg_at_10": "NDCG@10"}


def beside_each_source(home: Home, pair: Pair) -> Section:
    """What several sources together give, on the test users that every source's own pair has too.

    Raises:
        WarehouseError: the pair has not been evaluated.
    """
    title, found = "What several sources give together", beside_single_sources(home, pair)
    if found.empty:
        alone = " or ".join(f"{source} alone" for source in pair.sources)
        missing = (
            f"There is nothing to compare with: no pair of {alone} for {pair.target} stands in the catalog and was "
            "evaluated with the same recipe, β and seed."
        )
        return Section("sources", title, [missing])
    caption = [
        "The personal bridge from all sources compared with the one from each alone, on the test users of all "
        "these pairs. Differences are those of a source alone to all together, paired by user; p is corrected over the "
        "sources."
    ]
    tables = []
    for mode, own in found.groupby("mode", sort=False):
        caption += [_said(metric, own.set_index("source")) for metric in MEASURES[own["mode"].iloc[0]]]
        tables.append((f"source, {mode}", for_people(own)))
    return Section("sources", title, caption, tables=tables)


def _said(metric: str, rows: pd.DataFrame) -> str:
    together, *alone = rows.index
    told = [
        f"{source} alone {signed(rows.loc[source, f'{metric}_more'])} (p {_p(rows.loc[source, f'{metric}_p'])})"
        for source in alone
    ]
    return f"{WORDS[metric]} {rows.loc[together, metric]:.4f} with {together}; {', '.join(told)}."


def _p(value: float) -> str:
    text = probability(value)
    return text if text.startswith("<") else f"= {text}"
