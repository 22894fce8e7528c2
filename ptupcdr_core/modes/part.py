"""The models that serve people in one mode: they fold in source ratings, bridge, score, and give reasons.

Shapes: R people, K recommended items, L history length, Y coordinates of a bridged embedding.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Scale
from ptupcdr_core.data.people import People
from ptupcdr_core.kernels.sparse_extra import ExtraScores
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.modes.ranking.parts import Parts
from ptupcdr_core.modes.stars import Foretold, StarDistribution
from ptupcdr_core.training.folding import CalibratedSpace, SourceSpace

MEAN, POPULARITY = "mean", "popularity"
"""What made an embedding or a list if not the bridge: the mean target user, for people without a known source rating;
and popular items, the same for all but for what other parts add."""


class Sought(NamedTuple):
    """What is searched for: (R, E) vectors, and what is added to the scores (see ``kernels.sparse_extra``)."""

    vectors: Floats
    extra: ExtraScores | None


@dataclass(frozen=True)
class KnownUsers:
    """Source vectors that folding in would not give: the reference's users are trained by gradient steps.

    Args:
        ids: (U,) text.
        vectors: (U, X) float32.
    """

    ids: pa.Array
    vectors: Floats

    def over(self, side: SourceSide, ids: pa.Array) -> SourceSide:
        """The side of R people with these (R,) ids, known vectors in place of those that were folded in."""
        places = pc.fill_null(pc.index_in(ids, value_set=self.ids), -1).to_numpy(zero_copy_only=False)
        known, vectors = np.flatnonzero(places >= 0), side.source_vectors.copy()
        vectors[known + 1] = self.vectors[places[known]]
        return replace(side, source_vectors=vectors)


@dataclass(frozen=True)
class Part:
    """All that serves people in one mode.

    Args:
        source: where people are folded in.
        personal: the bridge.
        target: the target items' side of the score.
        mean: (Y,) float32, the fallback's embedding: the mean of the target model's own users.
        scale: the stars that scores are clipped to when shown; None where scores are not stars.
        known: people whose source vectors differ from those of folding in; None where none do.
        lists: what lists are made from beside the bridge; ``target`` holds its item vectors already.
        stars: turns predicted stars into distributions; None where scores are not stars, or are not calibrated.
    """

    source: SourceSpace
    personal: PersonalBridge
    target: TargetItems
    mean: Floats
    scale: Scale | None
    known: KnownUsers | None = None
    lists: Parts | None = None
    stars: StarDistribution | None = None

    def foretell(self, people: People, rows: NDArray[np.int64], items: NDArray[np.int64]) -> Foretold | None:
        """Predict ratings; None where there is no ``stars``.

        Args:
            people: R of them.
            rows: (N,) whose rating, by place from 0.
            items: (N,) of which target items.
        """
        if self.stars is None or not isinstance(self.source, CalibratedSpace):
            return None
        side = self._side(people)
        embeddings, _ = self._bridge(side, people.rating_counts[1:])
        means = self.shown(self.target.score(embeddings, rows, items))
        return self.stars(means, self.source.spread(side.source_vectors[1:])[rows], items)

    def sought(self, people: People, embeddings: Floats) -> Sought:
        """What is searched for, for R people with these (R, Y) embeddings."""
        if self.lists is None:
            return Sought(embeddings, None)
        return Sought(self.lists.vectors(embeddings, people.ratings), self.lists.extra(people.ratings, len(people)))

    def lists_made_by(self, made_by: NDArray[np.object_]) -> NDArray[np.object_]:
        """(R,) what made people's lists: what made their embeddings, or popularity where the bridge is not used."""
        return made_by if self.lists is None or self.lists.bridge else np.full_like(made_by, POPULARITY)

    def shown(self, scores: Floats) -> Floats:
        """Scores as people see them."""
        return scores if self.scale is None else self.scale.clip(scores)

    def embed(self, people: People, ids: pa.Array | None = None) -> tuple[Floats, NDArray[np.object_]]:
        """Fold people into the source space and bridge them.

        Args:
            people: R of them.
            ids: (R,) their ids, to give known users their trained vectors, whatever these ratings say; None: fold in
                all.

        Returns:
            (R, Y) float32 embeddings, and (R,) what made each: ``bridge``; ``common_bridge`` without a positive item;
            ``mean`` without any rating.
        """
        side = self._side(people)
        return self._bridge(
            side if self.known is None or ids is None else self.known.over(side, ids), people.rating_counts[1:]
        )

    def weights(self, people: People, items: NDArray[np.int64]) -> Floats:
        """How much each history item counts for each recommended one: by how much its score falls without it.

        The score without an item is exactly that of the same person had they never rated it: folded in without it, with
        a history without it, and bridged again. The definition is the same for every recipe, mode and bridge.

        Args:
            people: R of them.
            items: (R, K) target item indices.

        Returns:
            (R, K, L) float32, in the unit of scores before clipping; 0 where the history is padded.
        """
        at, positions, places = people.entries()
        changes = np.zeros((len(people), people.histories.shape[1], len(self.mean)), np.float32)
        if self.lists is None or self.lists.bridge:  # else the items' vectors are zero there
            side, counts = self._side(people), people.rating_counts
            vectors = self.source.leave_out(people.ratings, len(people), places)
            without = self.personal.embed_without(side, at, positions, vectors)
            without[counts[at] == 1] = self.mean
            changes[at - 1, positions] = self._bridge(side, counts[1:])[0][at - 1] - without
        if self.lists is not None:
            joint = self.lists.changes(people.ratings, at, places)
            further = np.zeros((*changes.shape[:2], joint.shape[1]), np.float32)
            further[at - 1, positions] = joint
            changes = np.concatenate([changes, further], axis=2)
        with one_thread():
            weights: Floats = self.target.vectors[items] @ changes.transpose(0, 2, 1)
        if self.lists is not None and self.lists.item_map is not None:
            histories = np.broadcast_to(people.histories[1:, None, :], weights.shape)
            weights += self.lists.item_map.shares(histories, np.broadcast_to(items[:, :, None], weights.shape))
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
