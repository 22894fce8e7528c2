"""The checkpoints of a pair's models for predicted ratings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptupcdr_core.data.pair_data import SIDES, Outline, PairData, Side
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.ordinal import OrdinalCalibration
from ptupcdr_core.modes import checkpoints
from ptupcdr_core.modes.checkpoints import Sides, load_between, present_checksums
from ptupcdr_core.settings import Settings
from ptupcdr_core.store import model_folders
from ptupcdr_core.store.artifacts import Checkpoint
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tensors import Tensor
from ptupcdr_core.training.bridging import Bridges
from ptupcdr_core.training.calibrated_model import CalibratedModel
from ptupcdr_core.training.epochs import Curves
from ptupcdr_core.training.task import BridgeTask, Model, bridge_task

FOLDERS: dict[Side, str] = {side: model_folders.FOLDERS["rating"][f"{side}_model"][0] for side in SIDES}
(BRIDGES,) = model_folders.FOLDERS["rating"]["meta_network"]
CALIBRATION = "stars."
SHARED = ("recipe", "base_model", "embedding_size")
"""Settings that both sides must share, since a bridge can only join vectors of one kind and size."""


def save_side(
    home: Home,
    side: Side,
    data: PairData | Outline,
    tensors: Mapping[str, Tensor],
    settings: Settings,
    fingerprint: str,
    curves: Curves,
    entries: Mapping[str, Any],
) -> list[Path]:
    """Write one side's base model, and further entries of its manifest."""
    noted = {"curves": curves.by_epoch(), **entries}
    return checkpoints.save(home, FOLDERS[side], data, tensors, settings, fingerprint, **noted)


def save_bridges(
    home: Home,
    data: PairData,
    bridges: Bridges,
    calibration: OrdinalCalibration,
    between: Sequence[str],
    settings: Settings,
    fingerprint: str,
    curves: Curves,
) -> list[Path]:
    """Write the bridges, how the personal one's predictions are calibrated, and the checksums of the base models that
    they join."""
    entries = {"chosen": bridges.chosen, "between": [*between], "curves": curves.by_epoch()}
    stars = {f"{CALIBRATION}{name}": tensor for name, tensor in calibration.tensors().items()}
    return checkpoints.save(home, BRIDGES, data, bridges.tensors() | stars, settings, fingerprint, **entries)


def load_sides(home: Home, outline: PairData | Outline) -> Sides[Model, Model]:
    """Read the two base models of a split.

    Raises:
        ArtifactError: one of them is missing, belongs to another split, or they were trained in different ways.
    """
    source, target = (checkpoints.load(home, FOLDERS[side], outline) for side in SIDES)
    if _way(source) != _way(target):
        raise ArtifactError(
            f"{outline.pair}: source_model has {_way(source)}, target_model {_way(target)}; materialize both with the "
            "same settings"
        )
    return Sides(_model(source), _model(target), (source.checksum, target.checksum))


def load_bridges(home: Home, outline: PairData | Outline, between: Sequence[str] | None = None) -> Bridges:
    """Read the bridges of a split.

    Args:
        home: has them.
        outline: of the split.
        between: the checksums of the base models that they are to be used with; None: of the present ones.

    Raises:
        ArtifactError: there are none, or they belong to another split or to other base models.
    """
    checksums = present_checksums(home, [*FOLDERS.values()], outline.pair) if between is None else between
    checkpoint = load_between(home, BRIDGES, outline, checksums)
    return Bridges.from_tensors(checkpoint.tensors, checkpoint.manifest["chosen"])


def load_calibration(home: Home, outline: PairData | Outline, between: Sequence[str]) -> OrdinalCalibration:
    """Read how the personal bridge's predictions are calibrated; as for ``load_bridges``."""
    tensors = load_between(home, BRIDGES, outline, between).tensors
    own = {name.removeprefix(CALIBRATION): tensor for name, tensor in tensors.items() if name.startswith(CALIBRATION)}
    return OrdinalCalibration.from_tensors(own)


def load_bridge_task(home: Home, data: PairData) -> BridgeTask:
    """Collect what bridges are trained on from the pair's split and its two base models.

    Raises:
        ArtifactError: as for ``load_sides``.
    """
    sides = load_sides(home, data)
    return bridge_task(data, sides.source, sides.target)


def load_task_and_bridges(home: Home, data: PairData) -> tuple[BridgeTask, Bridges]:
    """Read bridges and what they were trained on; both belong together, whatever is written meanwhile.

    Raises:
        ArtifactError: as for ``load_sides`` and ``load_bridges``.
    """
    sides = load_sides(home, data)
    return bridge_task(data, sides.source, sides.target), load_bridges(home, data, sides.checksums)


def _model(checkpoint: Checkpoint) -> Model:
    settings = checkpoint.manifest["settings"]
    if settings["recipe"] == "calibrated":
        return CalibratedModel.from_tensors(checkpoint.tensors)
    return BaseModel.from_tensors(settings["base_model"], checkpoint.tensors)


def _way(checkpoint: Checkpoint) -> str:
    return ", ".join(f"{name} {checkpoint.manifest['settings'][name]}" for name in SHARED)
