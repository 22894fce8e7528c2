"""What each mode serves cold-start users with: the one place that knows which models a mode has.

Shapes: R people, K recommended items, L history length, Y coordinates of a bridged embedding.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import SPLIT, Outline, Scale, load_outline
from ptupcdr_core.data.people import People
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.modes.checkpoints import load_bridges, load_model
from ptupcdr_core.modes.ranking.bridging import ranked_items
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_space, load_target
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.folding import SourceSpace, source_space
from ptupcdr_core.training.task import target_items, target_user_vectors

MEAN = "mean"
"""Made from nothing: the embedding of people of whom no source rating is known."""


@dataclass(frozen=True)
class Serving:
    """One mode's models.

    Args:
        source: where people are folded in.
        personal: the bridge.
        target: the target items' side of the score.
        mean: (Y,) float32, the fallback's embedding: the mean of the target model's own users.
        scale: the stars that scores are clipped to when shown; None where scores are no stars.
    """

    source: SourceSpace
    personal: PersonalBridge
    target: TargetItems
    mean: Floats
    scale: Scale | None

    def shown(self, scores: Floats) -> Floats:
        """Scores as people see them."""
        return scores if self.scale is None else self.scale.clip(scores)

    def embed(self, people: People) -> tuple[Floats, NDArray[np.object_]]:
        """Fold people into the source space and bridge them.

        Returns:
            (R, Y) float32 embeddings, and (R,) what made each: ``bridge``; ``common_bridge`` without a positive item;
            ``mean`` without any rating.
        """
        return self._bridge(self._side(people), people.rating_counts[1:])

    def weights(self, people: People, items: NDArray[np.int64]) -> Floats:
        """How much each history item counts for each recommended one: by how much its score falls without it.

        A score without an item is that of the same person who never rated it: folded in, with a history without it,
        and bridged again; all of it exact. So the definition is the same for every recipe, mode and bridge, whether
        its personal part has strength or not.

        Args:
            people: R of them.
            items: (R, K) target item indices.

        Returns:
            (R, K, L) float32, in the unit of scores before clipping; 0 where the history is padded.
        """
        at, positions, places = people.entries()
        side, counts = self._side(people), people.rating_counts
        vectors = self.source.leave_out(people.ratings, len(people), places)
        without = self.personal.embed_without(side, at, positions, vectors)
        without[counts[at] == 1] = self.mean
        changes = np.zeros((len(people), people.histories.shape[1], len(self.mean)), np.float32)
        changes[at - 1, positions] = self._bridge(side, counts[1:])[0][at - 1] - without
        with one_thread():
            weights: Floats = self.target.vectors[items] @ changes.transpose(0, 2, 1)
        return weights

    def _side(self, people: People) -> SourceSide:
        """People folded in."""
        vectors = self.source.fold_in(people.ratings, len(people))
        return SourceSide(vectors, self.source.history_vectors, people.histories, people.history_stars)

    def _bridge(self, side: SourceSide, counts: NDArray[np.int64]) -> tuple[Floats, NDArray[np.object_]]:
        """Bridge everybody of a side but those with no (R,) rating, who get the mean."""
        users = np.arange(1, len(side.source_vectors), dtype=np.int32)
        embeddings, made_by = self.personal.embed(side, users), self.personal.made_by(side, users)
        embeddings[counts == 0], made_by[counts == 0] = self.mean, MEAN
        return embeddings, made_by


def load_serving(home: Home, pair: str, mode: str) -> Serving:
    """Read a mode's models of a pair that has been materialized: those of the home, evaluated or fitted again.

    Raises:
        SettingsError: there is no such mode.
        WarehouseError: the pair has not been split.
        ArtifactError: a model is missing, or belongs to another split.
    """
    outline = load_outline(Warehouse.from_environment(home.warehouse), pair)
    if mode not in get_args(Mode):
        raise SettingsError(f"{pair} cannot be served in the mode {mode!r}; there are: {', '.join(get_args(Mode))}")
    return _rating_serving(home, outline) if mode == "rating" else _ranking_serving(home, outline)


def served_mode(home: Home, pair: str) -> Mode:
    """The mode that the pair's recommendations come from: ranking where its cold-start users have such embeddings.

    Raises:
        WarehouseError: nobody has been bridged yet.
    """
    with Warehouse.from_environment(home.warehouse).read("bridged_embeddings", pair) as connection:
        found = connection.execute("select 1 from bridged_embeddings where mode = 'ranking' limit 1").fetchone()
    return "ranking" if found else "rating"


def _rating_serving(home: Home, outline: Outline) -> Serving:
    source, target = (load_model(home, outline.pair, side, outline.vocabulary) for side in ("source", "target"))
    return Serving(
        source=source_space(source),
        personal=load_bridges(home, outline).personal,
        target=target_items(target),
        mean=target_user_vectors(target)[_target_users(home, outline.pair)].mean(0, dtype=np.float64).astype("f4"),
        scale=outline.target_scale,
    )


def _ranking_serving(home: Home, outline: Outline) -> Serving:
    bridges = load_ranking_bridges(home, outline)
    return Serving(
        source=load_space(home, outline),
        personal=bridges.personal,
        target=ranked_items(load_target(home, outline)),
        mean=bridges.mean[0],
        scale=None,
    )


def _target_users(home: Home, pair: str) -> Index:
    """Users whom the target model was trained on."""
    held_out = [] if home.refitted else ["test", "validation"]
    with Warehouse.from_environment(home.warehouse).read(SPLIT, pair) as connection:
        query = "select user_index from split_users where not list_contains(?, cohort) order by user_index"
        users: Index = connection.execute(query, [["cold", *held_out]]).fetchnumpy()["user_index"]
    return users
