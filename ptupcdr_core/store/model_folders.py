"""The folders of a pair's checkpoints, by mode and asset."""

from pathlib import Path

from ptupcdr_core.settings import Mode

FOLDERS: dict[Mode, dict[str, tuple[str, ...]]] = {
    "rating": {"source_model": ("source_model",), "target_model": ("target_model",), "meta_network": ("meta_network",)},
    "ranking": {
        "source_model": ("source_model_ranking",),
        "target_model": ("target_model_ranking",),
        "meta_network": ("meta_network_ranking", "meta_network_lists"),
    },
}
"""The folders of a home's models, each with a checkpoint a pair."""


def standing(models: Path, asset: str, pair: str) -> list[Path]:
    """The folders that hold an asset's checkpoints of a pair, whatever modes it was last trained in; if there are none,
    the folder where the first would be, so that it is never empty."""
    own = [folder for folders in FOLDERS.values() for folder in folders[asset]]
    found = [models / folder for folder in own if (models / folder / f"{pair}.json").exists()]
    return found or [models / own[0]]
