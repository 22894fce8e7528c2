"""Ranked lists as a mode."""

from ptupcdr_core.data.pair_data import load_outline
from ptupcdr_core.modes.part import Part
from ptupcdr_core.modes.ranking.bridging import ranked_items
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_space, load_target
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


def serve(home: Home, pair: str) -> Part:
    """What serves a pair's people, from the home's models.

    Raises:
        WarehouseError: the pair has not been split.
        ArtifactError: a model is missing, or belongs to another split.
    """
    outline = load_outline(Warehouse.from_environment(home.warehouse), pair)
    bridges = load_ranking_bridges(home, outline)
    return Part(
        source=load_space(home, outline),
        personal=bridges.personal,
        target=ranked_items(load_target(home, outline)),
        mean=bridges.mean[0],
        scale=None,
    )
