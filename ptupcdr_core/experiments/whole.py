"""A whole training and evaluation as in the lineage, without storing anything: for benchmarks of many splits."""

import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.data.pair_data import SIDES, PairData
from ptupcdr_core.experiments.grid import ListCell
from ptupcdr_core.modes.base import Evaluation, Mode
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import scratch_folder


def train_and_evaluate(
    mode: Mode, data: PairData, settings: Settings, ids: NDArray[np.object_]
) -> tuple[Evaluation, float]:
    """Train both sides and the bridges in a temporary home, and measure all methods of the mode.

    Args:
        mode: what is trained for.
        data: the pair's split.
        settings: of the training.
        ids: (U+1,) user ids by index.

    Returns:
        The result of ``mode.evaluate``, and the seconds of the training.
    """
    start = time.perf_counter()
    with scratch_folder() as folder:
        home = Home(folder)
        for side in SIDES:
            mode.train_side(home, data, side, settings, _unheard, "")
        mode.train(home, data, settings, _unheard, "")
        trained = time.perf_counter() - start
        return mode.evaluate(home, data, settings, ids), trained


def measure_lists(cell: ListCell, data: PairData, ids: NDArray[np.object_]) -> dict[str, pd.DataFrame]:
    """Train a cell of lists and make its tables; the seconds are those of all that PTUPCDR's lists are made from."""
    found, seconds = train_and_evaluate(MODES["ranking"], data, cell.settings, ids)
    lists, rankings = cell.tables
    return {lists: found.summary.assign(seconds=seconds), rankings: found.details["cold_start_rankings"]}


def _unheard(_epoch: int, _metrics: dict[str, float]) -> None:
    pass
