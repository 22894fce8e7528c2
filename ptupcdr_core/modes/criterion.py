"""How one model of a mode is found to be better than another."""

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
    """A model that knows users and items by id, so that it can be measured on a later split too."""

    def scores(self, ratings: pd.DataFrame) -> Floats:
        """(N,) predictions for ratings (user_id, item_id) that it knows, as people are shown them."""

    def rankings(self, ratings: pd.DataFrame) -> pd.DataFrame:
        """How well lists find what users took: user_id, ratings and the measures of ``evaluation.rankings``."""


@dataclass(frozen=True)
class Criterion:
    """How models are compared in one mode.

    Args:
        what: what is compared, in words.
        metric: name of the measure in tables.
        label: name of the measure in texts.
        more_is_better: whether a higher value is better.
        tolerance: fraction of the other's value by which a model may be worse at most, whatever the number of users.
        baselines: simple methods of the evaluation; a model has to be at least as good as the best of them.
        table: the evaluation's table with a row a method and user.
        columns: of that table that the metric is made from.
        measure: makes such rows for a model from test ratings (user_id, item_id, rating) that it knows.
        pair: arranges such rows of several methods by user.
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
