"""The checkpoints of a pair's models: what each holds, and how a model is made from it again."""

from pathlib import Path
from typing import get_args

from ptupcdr_core.data.pair_data import Outline, PairData, Side
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.settings import Settings
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.training.bridging import Bridges
from ptupcdr_core.training.calibrated import CalibratedModel
from ptupcdr_core.training.task import BridgeTask, Model, bridge_task, target_items


def save_model(
    home: Home,
    asset: str,
    data: PairData,
    tensors: artifacts.Tensors,
    settings: Settings,
    fingerprint: str,
    entries: dict[str, object],
) -> list[Path]:
    """Write one asset's checkpoint with what made it, and return its files."""
    manifest = {"asset": asset, "pair": data.pair, "settings": settings.model_dump(), "fingerprint": fingerprint}
    return artifacts.save(
        home.models / asset, data.pair, tensors, vocabulary=data.vocabulary, manifest=manifest | entries
    )


def load_model(home: Home, pair: str, side: Side, vocabulary: str) -> Model:
    """Read one side's base model.

    Raises:
        ArtifactError: there is none, or it belongs to another split.
    """
    checkpoint = artifacts.load(home.models / f"{side}_model", pair, vocabulary=vocabulary)
    if checkpoint.manifest["settings"]["recipe"] == "calibrated":
        return CalibratedModel.from_tensors(checkpoint.tensors)
    return BaseModel.from_tensors(checkpoint.manifest["settings"]["base_model"], checkpoint.tensors)


def load_bridge_task(home: Home, data: PairData) -> BridgeTask:
    """Lay out bridge training from the pair's split and its two base models.

    Raises:
        ArtifactError: one of them is missing, belongs to another split, or was trained in another way than the other.
    """
    _require_one_way(home, data.pair)
    source, target = (load_model(home, data.pair, side, data.vocabulary) for side in ("source", "target"))
    return bridge_task(data, source, target)


def load_target_items(home: Home, pair: str, vocabulary: str) -> TargetItems:
    """Read the target items' side of the score alone: no ratings, no source model.

    Raises:
        ArtifactError: as for ``load_bridge_task``.
    """
    _require_one_way(home, pair)
    return target_items(load_model(home, pair, "target", vocabulary))


def load_bridges(home: Home, data: PairData | Outline) -> Bridges:
    """Read the bridges that were trained for a pair's present split and its present base models.

    Raises:
        ArtifactError: there are none, or they belong to another split or to other base models.
    """
    checkpoint = load_between(home, "meta_network", data, base_weights(home, data.pair))
    return Bridges.from_tensors(checkpoint.tensors, checkpoint.manifest["chosen"])


def load_between(home: Home, folder: str, data: PairData | Outline, between: list[str]) -> artifacts.Checkpoint:
    """Read bridges, which fit only the models that they were trained between.

    Args:
        home: where the checkpoints are.
        folder: of the bridges.
        data: the pair's present split.
        between: checksums of the present models, as the bridges' manifest keeps them.

    Raises:
        ArtifactError: there are none, or they belong to another split or to other models.
    """
    checkpoint = artifacts.load(home.models / folder, data.pair, vocabulary=data.vocabulary)
    if checkpoint.manifest["between"] != between:
        raise ArtifactError(
            f"{home.models / folder / data.pair}.json: trained between other base models than the present ones; "
            f"materialize meta_network for {data.pair} again"
        )
    return checkpoint


def base_weights(home: Home, pair: str) -> list[str]:
    """The checksums of a pair's two base models."""
    return checksums(home, [f"{side}_model" for side in get_args(Side)], pair)


def checksums(home: Home, folders: list[str], pair: str) -> list[str]:
    """Those of a pair's checkpoints in these folders."""
    return [str(artifacts.read_manifest(home.models / folder, pair)["sha256"]) for folder in folders]


def _require_one_way(home: Home, pair: str) -> None:
    ways = [_way(home, pair, side) for side in ("source", "target")]
    if ways[0] != ways[1]:
        raise ArtifactError(
            f"{pair}: source_model has {ways[0]}, target_model {ways[1]}; materialize both with the same settings"
        )


def _way(home: Home, pair: str, side: Side) -> str:
    """The settings that both sides must share, for a bridge can only join vectors of one kind and size."""
    settings = artifacts.read_manifest(home.models / f"{side}_model", pair)["settings"]
    return ", ".join(f"{name} {settings[name]}" for name in ("recipe", "base_model", "embedding_size"))
