"""Several sources for one target, compared with each of them alone, with five seeds: the demo, or released ratings.

    python perf/several_sources.py demo /tmp/demo           books, music and both for movies
    python perf/several_sources.py epinions /tmp/epinions   categories 3, 4 and both for 5 (in ../shared)

Resumes where it was stopped. Prints for each mode the means over seeds on the test users that all sources share; by how
much each source alone exceeds both together; and how probable such a difference is by chance, paired by user (a user
who is held out with several seeds counts once).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from released import DATA, DETAILS, Cell, domain_of, measure

from ptupcdr_core.catalog import Catalog, Domain, Pair
from ptupcdr_core.data.scratch_splits import ScratchSplits
from ptupcdr_core.experiments.sources import compared
from ptupcdr_core.settings import Mode
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.warehouse import Warehouse

SEEDS = (900, 1000, 10, 2020, 500)
MODES: tuple[Mode, ...] = ("rating", "ranking")
PAIRS = {
    "demo": Pair(source="books+music", target="movies"),
    "epinions": Pair(source="category_3+category_4", target="category_5"),
}


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=PAIRS)
    parser.add_argument(
        "folder", type=Path, help="for results, cleaned ratings and splits; one per version of the code"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args()
    both = PAIRS[options.data]
    if options.data != "demo" and not DATA.is_dir():
        print(f"skipped: no released ratings in {DATA}")
        return
    pairs = [both, *both.alone]
    read = domain_of if options.data == "epinions" else _demo
    splits = _splits(options.folder, pairs, read)
    for mode in MODES:
        cells = [[Cell(pair, 0.2, seed, mode, "test") for pair in pairs] for seed in options.seeds]
        users = [{cell.pair.source: _users(options.folder, cell, splits) for cell in of_seed} for of_seed in cells]
        print(_described(mode, users), "\n")


def _splits(folder: Path, pairs: list[Pair], read: Callable[[str], Domain]) -> dict[str, ScratchSplits]:
    names = {name for pair in pairs for name in pair.domains}
    catalog = Catalog(path=folder, domains=tuple(read(name) for name in sorted(names)), pairs=tuple(pairs))
    warehouse, scratch = (Warehouse.from_environment(folder / name) for name in ("warehouse", "splits"))
    for domain in catalog.domains:
        if not warehouse.exists("raw_ratings", domain.name):
            ingest_domain(domain, warehouse)
    return {
        pair.key: ScratchSplits(pair, catalog.domain(pair.source), catalog.domain(pair.target), warehouse, scratch)
        for pair in pairs
    }


def _demo(name: str) -> Domain:
    return Domain(name=name, format="demo")


def _users(folder: Path, cell: Cell, splits: dict[str, ScratchSplits]) -> pd.DataFrame:
    """PTUPCDR's measures by user, read from the folder if they are there."""
    path = folder / f"{cell.name}.parquet"
    if not path.is_file():
        users = measure(cell, splits[cell.pair.key])[1]
        with replaced(path) as temporary:
            users[users["method"] == "ptupcdr"].to_parquet(temporary, index=False)
    return pd.read_parquet(path)


def _described(mode: Mode, by_seed: list[dict[str, pd.DataFrame]]) -> str:
    """Means over seeds for each source, and the differences over all users."""
    each = pd.concat([compared(mode, by_source) for by_source in by_seed])
    means = each.groupby("source", sort=False).mean(numeric_only=True).dropna(axis=1, how="all")
    pooled = compared(
        mode, {source: _pooled([by_source[source] for by_source in by_seed], by_seed) for source in by_seed[0]}
    )
    own = [name for name in means if not name.endswith(("_more", "_p"))]
    tested = pooled.set_index("source").dropna(axis=1, how="all")
    shown = means[own].join(tested[[name for name in tested if name.endswith(("_more", "_p"))]])
    return f"{DETAILS[mode]}, {len(by_seed)} seeds, {tested['users'].iloc[0]} users in all\n{shown.to_string()}"


def _pooled(frames: list[pd.DataFrame], by_seed: list[dict[str, pd.DataFrame]]) -> pd.DataFrame:
    """One row per user, over the seeds with which all sources measured them: sums of errors, means of list measures."""
    shared = []
    for frame, by_source in zip(frames, by_seed, strict=True):
        users = set.intersection(*(set(own["user_id"]) for own in by_source.values()))
        shared.append(frame[frame["user_id"].isin(users)])
    how = {"ratings": "sum", "absolute_error": "sum", "squared_error": "sum", "ndcg_at_10": "mean"}
    rows = pd.concat(shared)
    return rows.groupby("user_id").agg({name: of for name, of in how.items() if name in rows}).reset_index()


if __name__ == "__main__":
    main()
