"""Published numbers to compare one's own with, and the known counts of the domains that they were measured on.

A domain is one of the paper's when its format is ``amazon-2014`` and its file is the published 5-core file, for example
``reviews_Movies_and_TV_5.json.gz``, in any folder or at any address. What the catalog calls it does not matter.
"""

import tomllib
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from ptupcdr_core.catalog import Domain

FOLDER = Path(__file__).parent
SIMPLE = ("global_mean", "item_mean", "source_offset")


def published_name(domain: Domain) -> str | None:
    """A domain's name in the publications; None when it is not one of theirs."""
    if domain.format != "amazon-2014" or domain.path is None:
        return None
    file = PurePosixPath(domain.path.replace("\\", "/")).name
    return next((name for name in _facts()["domains"] if file.startswith(f"reviews_{name}_5.json")), None)


def count_problems(domain: Domain, *, users: int, items: int, ratings: int) -> list[str]:
    """How a domain's counts differ from those of the published file; empty when they agree or none are known.

    Args:
        domain: as the catalog has it.
        users: number of users with at least one kept rating.
        items: number of items with at least one kept rating.
        ratings: number of kept ratings.
    """
    name = published_name(domain)
    if name is None:
        return []
    found = {"users": users, "items": items, "ratings": ratings}
    return [
        f"{domain.name}: {amount:,} {kind}, but the 5-core {name} of 2014 has {expected:,}: the file is another "
        f"release or incomplete, and published numbers do not belong beside its results"
        for kind, amount in found.items()
        if amount != (expected := _facts()["domains"][name][kind])
    ]


def published_for(source: Domain, target: Domain) -> pd.DataFrame:
    """The published numbers of a pair: beta, method, mae, rmse, publication, verified; no rows when there are none."""
    table = _numbers()
    names = published_name(source), published_name(target)
    rows = table[(table["source"] == names[0]) & (table["target"] == names[1])]
    return rows.drop(columns=["source", "target"]).reset_index(drop=True)


def beside_published(source: Domain, target: Domain, means: pd.DataFrame) -> pd.DataFrame:
    """Published, ours and simple baselines side by side.

    Args:
        source: the pair's source domain.
        target: its target domain.
        means: ``significance.over_seeds`` of the table ``benchmark``.

    Returns:
        One row a β and method: beta, method, published_mae, published_rmse, publication,
        verified, then mae and rmse of every recipe that was run with MF, as ``{recipe}_mae``. A method that was not
        published or not run has nulls there. No rows when the pair is not one of the publications'.
    """
    published = published_for(source, target).rename(columns={"mae": "published_mae", "rmse": "published_rmse"})
    if published.empty:
        return published
    ours = means[means["base_model"].isin(["mf", "none"])]
    wide = ours.pivot_table(index=["beta", "method"], columns="recipe", values=["mae", "rmse"])
    wide.columns = [f"{recipe}_{metric}" for metric, recipe in wide.columns]
    table = published.merge(wide.reset_index(), on=["beta", "method"], how="outer")
    table["simple"] = table["method"].isin(SIMPLE)
    return table.sort_values(["beta", "simple", "method", "publication"], ignore_index=True).drop(columns="simple")


def publications() -> dict[str, dict[str, str]]:
    """Title and protocol of every publication, by its name in the tables."""
    return {name: dict(entry) for name, entry in _facts()["publications"].items()}


@cache
def _facts() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "published.toml").read_text(encoding="utf-8"))


def _numbers() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "published.csv", true_values=["yes"], false_values=["no"])
