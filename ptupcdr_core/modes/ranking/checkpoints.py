"""The checkpoints of a pair's ranking models, beside those for ratings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptupcdr_core.data.pair_data import SIDES, Outline, PairData, Side
from ptupcdr_core.modes import checkpoints
from ptupcdr_core.modes.checkpoints import Sides, load_between, present_checksums
from ptupcdr_core.modes.ranking.bridging import RankingBridges, RankingTask
from ptupcdr_core.modes.ranking.joint import JointFactors
from ptupcdr_core.modes.ranking.parts import Parts
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.settings import Settings
from ptupcdr_core.store import model_folders
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tensors import Tensor
from ptupcdr_core.training.epochs import Curves
from ptupcdr_core.training.implicit import ImplicitFactors

FOLDERS: dict[Side, str] = {side: model_folders.FOLDERS["ranking"][f"{side}_model"][0] for side in SIDES}
BRIDGES, PARTS = model_folders.FOLDERS["ranking"]["meta_network"]


def save_side(
    home: Home,
    side: Side,
    data: PairData,
    factors: ImplicitFactors,
    settings: Settings,
    fingerprint: str,
    curves: Curves,
    entries: Mapping[str, Any],
) -> list[Path]:
    """Write one side's factors; the source's with the space of its users' coordinates."""
    tensors = factors.tensors()
    if side == "source":
        tensors = RankingSpace.of(factors, data.source, data.blocks_of("source")).checkpoint()
    return save_side_tensors(home, side, data, tensors, settings, fingerprint, curves, entries)


def save_side_tensors(
    home: Home,
    side: Side,
    outline: PairData | Outline,
    tensors: Mapping[str, Tensor],
    settings: Settings,
    fingerprint: str,
    curves: Curves,
    entries: Mapping[str, Any],
) -> list[Path]:
    """The same for tensors, whatever made them, with further entries of the manifest."""
    noted = {"curves": curves.by_epoch(), **entries}
    return checkpoints.save(home, FOLDERS[side], outline, tensors, settings, fingerprint, **noted)


def save_bridges(
    home: Home, data: PairData, bridges: RankingBridges, between: Sequence[str], settings: Settings, fingerprint: str
) -> list[Path]:
    """Write the bridges, and the checksums of the factors that they join."""
    entries = {"chosen": bridges.chosen, "between": [*between]}
    return checkpoints.save(home, BRIDGES, data, bridges.tensors(), settings, fingerprint, **entries)


def save_parts(
    home: Home,
    data: PairData,
    parts: Parts,
    joint: JointFactors,
    between: Sequence[str],
    settings: Settings,
    fingerprint: str,
) -> list[Path]:
    """Write what lists are made from beside the bridge, and the joint factors, which are a baseline too."""
    tensors = parts.tensors() | {f"all.{name}": tensor for name, tensor in joint.tensors().items()}
    entries = {"chosen": parts.chosen, "between": [*between]}
    return checkpoints.save(home, PARTS, data, tensors, settings, fingerprint, **entries)


def load_parts(home: Home, outline: PairData | Outline, between: Sequence[str]) -> tuple[Parts, JointFactors]:
    """Read what lists are made from beside the bridge, and the joint factors.

    Raises:
        ArtifactError: there are none, or they belong to another split or to other factors.
    """
    checkpoint = load_between(home, PARTS, outline, between)
    joint = {name.removeprefix("all."): tensor for name, tensor in checkpoint.tensors.items() if name[:4] == "all."}
    own = {name: tensor for name, tensor in checkpoint.tensors.items() if name[:4] != "all."}
    return Parts.from_tensors(own, checkpoint.manifest["chosen"]), JointFactors.from_tensors(joint)


def load_sides(home: Home, outline: PairData | Outline) -> Sides[RankingSpace, ImplicitFactors]:
    """Read both sides of a split.

    Raises:
        ArtifactError: one of them is missing or belongs to another split.
    """
    source, target = (checkpoints.load(home, FOLDERS[side], outline) for side in SIDES)
    return Sides(
        RankingSpace.from_tensors(source.tensors),
        ImplicitFactors.from_tensors(target.tensors),
        (source.checksum, target.checksum),
    )


def load_ranking_bridges(
    home: Home, outline: PairData | Outline, between: Sequence[str] | None = None
) -> RankingBridges:
    """Read the bridges of a split.

    Args:
        home: has them.
        outline: of the split.
        between: the checksums of the factors that they are to be used with; None: of the present ones.

    Raises:
        ArtifactError: there are none, or they belong to another split or to other factors.
    """
    checksums = present_checksums(home, [*FOLDERS.values()], outline.pair) if between is None else between
    checkpoint = load_between(home, BRIDGES, outline, checksums)
    return RankingBridges.from_tensors(checkpoint.tensors, checkpoint.manifest["chosen"])


def load_ranking_task(home: Home, data: PairData) -> RankingTask:
    """Collect what bridges are trained on from the pair's split and its two sides.

    Raises:
        ArtifactError: as for ``load_sides``.
    """
    sides = load_sides(home, data)
    return RankingTask.of(data, sides.source, sides.target)
