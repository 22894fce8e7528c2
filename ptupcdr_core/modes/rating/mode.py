"""Predicted ratings as a mode."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from ptupcdr_core.data.pair_data import PairData, user_ids
from ptupcdr_core.engines.device import training_device
from ptupcdr_core.modes.checkpoints import load_bridges, load_model
from ptupcdr_core.modes.part import KnownUsers, Part
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.bridging import Bridges, refit_bridges
from ptupcdr_core.training.calibrated import CalibratedModel
from ptupcdr_core.training.epochs import OnEpoch
from ptupcdr_core.training.folding import source_space
from ptupcdr_core.training.pretraining import train_side
from ptupcdr_core.training.task import Model, bridge_task, target_items, target_user_vectors


def serve(home: Home, data: PairData) -> Part:
    """What serves a pair's people, from the home's models.

    Raises:
        ArtifactError: a model is missing, or belongs to another split.
    """
    source, target = (load_model(home, data.pair, side, data.vocabulary) for side in ("source", "target"))
    part = _part(data, source, target, load_bridges(home, data))
    if isinstance(source, CalibratedModel):
        return part
    ids = user_ids(Warehouse.from_environment(home.warehouse), data.pair)[data.cold_users]
    return replace(part, known=KnownUsers(pa.array(ids, pa.string()), source.user_vectors()[data.cold_users]))


def refit(home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch) -> Part:
    """The same with target model and bridges fitted again to a split without held-out users; nothing is chosen again.

    Raises:
        ArtifactError: a model is missing, or belongs to another split.
    """
    device = training_device()
    source = load_model(home, data.pair, "source", data.vocabulary)
    target = train_side(data, "target", settings, on_epoch, device)
    task = bridge_task(data, source, target)
    return _part(data, source, target, refit_bridges(task, settings, load_bridges(home, data).chosen, on_epoch, device))


def _part(data: PairData, source: Model, target: Model, bridges: Bridges) -> Part:
    trained = np.sort(np.concatenate([data.cohorts["bridge"], data.cohorts["target_only"]]))
    return Part(
        source=source_space(source),
        personal=bridges.personal,
        target=target_items(target),
        mean=target_user_vectors(target)[trained].mean(0, dtype=np.float64).astype(np.float32),
        scale=data.target_scale,
    )
