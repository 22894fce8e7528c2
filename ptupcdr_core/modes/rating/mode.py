"""Predicted ratings as a mode."""

import numpy as np

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import SPLIT, load_outline
from ptupcdr_core.modes.checkpoints import load_bridges, load_model
from ptupcdr_core.modes.part import Part
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.folding import source_space
from ptupcdr_core.training.task import target_items, target_user_vectors


def serve(home: Home, pair: str) -> Part:
    """What serves a pair's people, from the home's models.

    Raises:
        WarehouseError: the pair has not been split.
        ArtifactError: a model is missing, or belongs to another split.
    """
    outline = load_outline(Warehouse.from_environment(home.warehouse), pair)
    source, target = (load_model(home, pair, side, outline.vocabulary) for side in ("source", "target"))
    return Part(
        source=source_space(source),
        personal=load_bridges(home, outline).personal,
        target=target_items(target),
        mean=target_user_vectors(target)[_target_users(home, pair)].mean(0, dtype=np.float64).astype("f4"),
        scale=outline.target_scale,
    )


def _target_users(home: Home, pair: str) -> Index:
    """Users whom the target model was trained on."""
    held_out = [] if home.refitted else ["test", "validation"]
    with Warehouse.from_environment(home.warehouse).read(SPLIT, pair) as connection:
        query = "select user_index from split_users where not list_contains(?, cohort) order by user_index"
        users: Index = connection.execute(query, [["cold", *held_out]]).fetchnumpy()["user_index"]
    return users
