"""The stage of the bridges of a pair."""

from dataclasses import replace

import numpy as np
import pandas as pd

from ptupcdr_core.data.pair_data import PairData, load_pair
from ptupcdr_core.engines.device import training_device
from ptupcdr_core.evaluation.cold_start import evaluate
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.modes.checkpoints import base_weights, load_bridge_task, save_model
from ptupcdr_core.modes.ranking.bridging import train_ranking_bridges
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_task, save_bridges
from ptupcdr_core.serving.candidate import trained_bundle
from ptupcdr_core.serving.deployed import CANDIDATE, bundle_file
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.bridging import train_bridges as fit_bridges
from ptupcdr_core.training.epochs import Curves, OnEpoch


def train_bridges(home: Home, pair: str, settings: Settings, on_epoch: OnEpoch, fingerprint: str = "") -> StageReport:
    """Train the personal bridge and the common ones beside it (asset ``meta_network``).

    Raises:
        DeviceError: the environment asks for a GPU that is not there.
    """
    device, data = training_device(), load_pair(Warehouse.from_environment(home.warehouse), pair)
    task = load_bridge_task(home, data)
    curves = Curves(on_epoch)
    bridges = fit_bridges(task, settings, curves, device)
    entries = {"chosen": bridges.chosen, "between": base_weights(home, pair), **curves.entries()}
    files = save_model(home, "meta_network", data, bridges.tensors(), settings, fingerprint, entries)
    validation = _errors_table(data, bridges.methods(task), settings)
    metrics = {f"validation_rmse_{row.method}": float(row.rmse) for row in validation.itertuples()}
    chosen = bridges.chosen
    if settings.ranks:
        ranking = train_ranking_bridges(
            load_ranking_task(home, data), hidden_size=settings.meta_hidden_size, seed=settings.seed
        )
        files += save_bridges(home, data, ranking, settings, fingerprint)
        chosen = chosen | ranking.chosen
    path = bundle_file(home, CANDIDATE, pair)
    trained_bundle(home, data, settings, fingerprint).save(path)
    return StageReport({**chosen, **metrics}, curves.values, [*files, path], {"validation": validation})


def _errors_table(data: PairData, methods: list[FittedMethod], settings: Settings) -> pd.DataFrame:
    """The methods on the validation users, in the evaluation's form."""
    validation = replace(data, target_test=data.target_validation)
    ids = np.arange(data.user_count + 1).astype(object)
    return evaluate(validation, methods, settings, ids)[0][["method", "users", "ratings", "mae", "rmse"]]
