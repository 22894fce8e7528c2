"""What all checkpoints of models have in common: the split that they belong to, and the models that bridges join.

Both are recorded as they were read before the training, not as they are when it ends. If a run on another split writes
its models meanwhile, the checkpoints are refused, instead of making a mixture that looks whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ptupcdr_core.data.pair_data import Outline, PairData
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.model_folders import FOLDERS
from ptupcdr_core.store.tensors import Tensor
from ptupcdr_core.training.folding import USER_TABLES

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Sides(Generic[S, T]):
    """A pair's two models.

    Args:
        source: of the source domain.
        target: of the target domain.
        checksums: of both as they were read; bridges record them to know their models.
    """

    source: S
    target: T
    checksums: tuple[str, str]


def save(
    home: Home,
    folder: str,
    data: PairData | Outline,
    tensors: Mapping[str, Tensor],
    settings: Settings,
    fingerprint: str,
    **entries: object,
) -> list[Path]:
    """Write a checkpoint with what made it, and return its files.

    Args:
        home: takes it.
        folder: of the model.
        data: the split that was trained on.
        tensors: the weights.
        settings: of the training.
        fingerprint: what the model was made from.
        entries: further ones of the manifest.
    """
    manifest = {"asset": folder, "pair": data.pair, "settings": settings.model_dump(), "fingerprint": fingerprint}
    return artifacts.save(home.models / folder, data.pair, tensors, split=data.split, manifest=manifest | entries)


def load(home: Home, folder: str, outline: PairData | Outline) -> artifacts.Checkpoint:
    """Read a checkpoint of this split; where only some people were read of the split, their rows.

    Raises:
        ArtifactError: there is none, or it belongs to another split.
    """
    people = outline.people if isinstance(outline, PairData) else None
    rows = {} if people is None else dict.fromkeys(USER_TABLES, people)
    return artifacts.load(home.models / folder, outline.pair, split=outline.split, rows=rows)


def load_between(
    home: Home, folder: str, outline: PairData | Outline, checksums: Sequence[str]
) -> artifacts.Checkpoint:
    """Read bridges of this split, which fit only the models that they were trained between.

    Args:
        home: has them.
        folder: of the bridges.
        outline: of the split.
        checksums: of the two models.

    Raises:
        ArtifactError: there are none, or they belong to another split or to other models.
    """
    checkpoint = load(home, folder, outline)
    if checkpoint.manifest["between"] != [*checksums]:
        raise ArtifactError(
            f"{home.models / folder / outline.pair}.json: trained between other base models than the present ones; "
            f"materialize meta_network for {outline.pair} again"
        )
    return checkpoint


def drop_others(home: Home, asset: str, pair: str, modes: Sequence[Mode]) -> None:
    """Remove an asset's checkpoints of a pair in modes that it was not trained in now: nothing refers to them."""
    for mode, folders in FOLDERS.items():
        for folder in folders[asset] if mode not in modes else ():
            artifacts.remove(home.models / folder, pair)


def present_checksums(home: Home, folders: Sequence[str], pair: str) -> list[str]:
    """The checksums of a pair's present models."""
    return [str(artifacts.read_manifest(home.models / folder, pair)["sha256"]) for folder in folders]
