"""Released ratings (``../shared`` beside the checkout), and one cell of measurements: a pair, β, seed and mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ptupcdr_core.catalog import Columns, Domain, Pair
from ptupcdr_core.data.pair_data import PairData, load_pair, user_ids
from ptupcdr_core.data.scratch_splits import ScratchSplits
from ptupcdr_core.experiments.whole import train_and_evaluate
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

DATA = Path(__file__).parents[2] / "shared" / "data"
WITHOUT_TIME = Columns(user="user_id", item="item_id", rating="rating")
WITH_TIME = Columns(user="user_id", item="item_id", rating="rating", timestamp="timestamp")
FILES = {f"category_{n}": (f"epinions/category_{n}.csv.gz", WITH_TIME) for n in (3, 4, 5)} | {
    name: (f"douban/{name}.csv.gz", WITHOUT_TIME) for name in ("book", "music")
}
PAIRS = tuple(
    Pair(source=source, target=target)
    for source, target in (
        ("category_3", "category_4"),
        ("category_3", "category_5"),
        ("category_4", "category_5"),
        ("book", "music"),
        ("music", "book"),
    )
)
Measured = Literal["test", "bridge"]
"""On whom a cell is measured: on test users; or, for making choices, on a quarter of the bridge users, and then test
ratings are not read.
"""
STAND_INS = 4
"""One in so many bridge users stands in for a test user."""
DETAILS: dict[Mode, str] = {"rating": "cold_start_errors", "ranking": "cold_start_rankings"}


@dataclass(frozen=True)
class Cell:
    """One training with default settings, and the users that it is measured on."""

    pair: Pair
    beta: float
    seed: int
    mode: Mode
    on: Measured

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.pair.key}-{self.mode}-beta{self.beta:g}-seed{self.seed}-{self.on}"


def splits_of(folder: Path, pairs: Sequence[Pair]) -> dict[str, ScratchSplits]:
    """Clean the ratings of these pairs' domains, unless the folder has them; the splits are made on demand."""
    domains = {name: domain_of(name) for pair in pairs for name in (pair.source, pair.target)}
    warehouse, scratch = (Warehouse.from_environment(folder / name) for name in ("warehouse", "splits"))
    for name, domain in domains.items():
        if not warehouse.exists("raw_ratings", name):
            ingest_domain(domain, warehouse)
    return {
        pair.key: ScratchSplits(pair, domains[pair.source], domains[pair.target], warehouse, scratch) for pair in pairs
    }


def measure(cell: Cell, splits: ScratchSplits) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and measure as the lineage does.

    Returns:
        One row per method, and one row per method and user, with the columns of the lineage's tables and ``on``.
    """
    settings, mode = Settings(beta=cell.beta, seed=cell.seed), MODES[cell.mode]
    warehouse = splits.of(settings)
    data = load_pair(warehouse, cell.pair.key, test_ratings=cell.on == "test")
    ids = user_ids(warehouse, data)
    if cell.on == "bridge":
        data = with_stand_ins(data, cell.seed)
    found, seconds = train_and_evaluate(mode, data, settings, ids)
    return found.summary.assign(on=cell.on, seconds=seconds), found.details[DETAILS[cell.mode]].assign(on=cell.on)


def with_stand_ins(data: PairData, seed: int) -> PairData:
    """The split with some of its bridge users in place of its test users, who are removed."""
    bridge = data.cohorts["bridge"]
    dealt = np.random.default_rng([seed, *b"stand-ins"]).permutation(bridge)
    return data.holding_out(np.sort(dealt[: len(bridge) // STAND_INS]), "test")


def domain_of(name: str) -> Domain:
    """A domain of the released ratings, as a catalog would declare it."""
    file, columns = FILES[name]
    return Domain(name=name, format="csv", path=str(DATA / file), columns=columns)
