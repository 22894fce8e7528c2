"""The checkpoints of a pair's ranking models, beside those for ratings."""

from pathlib import Path

from ptupcdr_core.data.pair_data import Outline, PairData, Side
from ptupcdr_core.modes.checkpoints import checksums, load_between, save_model
from ptupcdr_core.modes.ranking.bridging import RankingBridges, RankingTask
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.settings import Settings
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.training.implicit import ImplicitFactors

SOURCE, TARGET, BRIDGES = "source_model_ranking", "target_model_ranking", "meta_network_ranking"
FOLDERS: dict[Side, str] = {"source": SOURCE, "target": TARGET}


def save_side(
    home: Home, side: Side, data: PairData, factors: ImplicitFactors, settings: Settings, fingerprint: str
) -> list[Path]:
    """Write one side's factors; the source's with the space that users are laid out in."""
    tensors = RankingSpace.of(factors, data.source).checkpoint() if side == "source" else factors.tensors()
    return save_model(home, FOLDERS[side], data, tensors, settings, fingerprint, {})


def save_bridges(
    home: Home, data: PairData, bridges: RankingBridges, settings: Settings, fingerprint: str
) -> list[Path]:
    """Write the bridges, and which factors they stand between."""
    entries: dict[str, object] = {"chosen": bridges.chosen, "between": checksums(home, [SOURCE, TARGET], data.pair)}
    return save_model(home, BRIDGES, data, bridges.tensors(), settings, fingerprint, entries)


def load_space(home: Home, outline: PairData | Outline) -> RankingSpace:
    """Read the source side.

    Raises:
        ArtifactError: it is missing or belongs to another split.
    """
    tensors = artifacts.load(home.models / SOURCE, outline.pair, vocabulary=outline.vocabulary).tensors
    return RankingSpace.from_tensors(tensors)


def load_target(home: Home, outline: PairData | Outline) -> ImplicitFactors:
    """Read the target side.

    Raises:
        ArtifactError: it is missing or belongs to another split.
    """
    tensors = artifacts.load(home.models / TARGET, outline.pair, vocabulary=outline.vocabulary).tensors
    return ImplicitFactors.from_tensors(tensors)


def load_ranking_task(home: Home, data: PairData) -> RankingTask:
    """Lay out bridge training from the pair's split and its two sides.

    Raises:
        ArtifactError: one of them is missing or belongs to another split.
    """
    return RankingTask.of(data, load_space(home, data), load_target(home, data))


def load_ranking_bridges(home: Home, outline: PairData | Outline) -> RankingBridges:
    """Read the bridges between the pair's present factors.

    Raises:
        ArtifactError: there are none, or they belong to another split or to other factors.
    """
    checkpoint = load_between(home, BRIDGES, outline, checksums(home, [SOURCE, TARGET], outline.pair))
    return RankingBridges.from_tensors(checkpoint.tensors, checkpoint.manifest["chosen"])
