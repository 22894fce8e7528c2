"""By what one model of a mode is told to be better than another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from ptupcdr_core.arrays import Floats
from ptupcdr_core.evaluation.significance import Paired
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


class Measured(Protocol):
    """A model whose users and items go by id, so that it can be measured on a later split too."""

    def scores(self, ratings: pd.DataFrame) -> Floats:
        """(N,) predictions for ratings (user_id, item_id) that it knows, as people are shown them."""

    def rankings(self, ratings: pd.DataFrame) -> pd.DataFrame:
        """How well lists find what users took: user_id, ratings and the measures of ``evaluation.rankings``."""


@dataclass(frozen=True)
class Criterion:
    """How models are compared in one mode.

    Args:
        what: is compared, in words.
        metric: its name in the tables, and
        label: to people.
        more_is_better: of the metric.
        tolerance: by how much of the other's value a model may be worse, however few users tell.
        baselines: methods of the evaluation that are next to nothing: what a model has to be worth its while.
        table: of the evaluation, with a row a method and user.
        columns: of that table that the metric is made from.
        measure: makes such rows of a model; takes test ratings (user_id, item_id, rating) that it knows.
        pair: lays such rows of several methods out by user.
    """

    what: str
    metric: str
    label: str
    more_is_better: bool
    tolerance: float
    baselines: tuple[str, ...]
    table: str
    columns: tuple[str, ...]
    measure: Callable[[Measured, pd.DataFrame], pd.DataFrame]
    pair: Callable[[pd.DataFrame], Paired]

    def values(self, rows: pd.DataFrame) -> "pd.Series[float]":
        """The metric of each method."""
        paired = self.pair(rows)
        return pd.Series(paired.measures(np.ones((len(paired.counts), 1)))[self.metric][:, 0], index=paired.methods)

    def strongest_baseline(self, home: Home, pair: str, mode: Mode) -> pd.DataFrame:
        """The rows of the best of the baselines in the pair's evaluation.

        Raises:
            WarehouseError: the pair was not evaluated.
        """
        query = (
            f"select method, user_id, ratings, {', '.join(self.columns)} from {self.table} "  # nosec B608 # ours
            "where mode = ? and method in (select unnest(?))"
        )
        with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair) as connection:
            rows = connection.execute(query, [mode, list(self.baselines)]).fetchdf()
        values = self.values(rows)
        return rows[rows["method"] == (values.idxmax() if self.more_is_better else values.idxmin())]
