"""Bridges: from a user's source vector to an embedding in the target domain.

Shapes: R users, U all users, S source items, D embedding size, X coordinates of a source vector, Y coordinates of a
target vector, L history length.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.meta import MetaNetwork

BLOCK = 2_048
"""Users bridged at a time, so that their histories and matrices stay in the cache."""

BRIDGE, COMMON_BRIDGE = "bridge", "common_bridge"


@dataclass(frozen=True)
class SourceSide:
    """What a bridge reads of the source domain; row 0 is padding.

    Args:
        source_vectors: (U+1, X) float32, what a bridge is applied to.
        history_vectors: (S+1, D) float32 source item vectors, what the meta network reads.
        histories: (U+1, L) int32 source items, padded with 0 at the end.
        history_stars: (U+1, L) float32, the user's ratings of them.
    """

    source_vectors: Floats
    history_vectors: Floats
    histories: Index
    history_stars: Floats


@dataclass(frozen=True)
class CommonBridge:
    """One matrix (X, Y) for everybody: û = u W."""

    matrix: Floats

    def embed(self, source: SourceSide, users: Index) -> Floats:
        """(R, Y) float32 bridged embeddings of these users."""
        with one_thread():
            embeddings: Floats = source.source_vectors[users] @ self.matrix
        return embeddings


@dataclass(frozen=True)
class PersonalBridge:
    """A matrix of each user's own: û = u (C + strength · W(history)).

    Args:
        network: the meta network that writes W from the user's history.
        common: (X, Y) C, the common part of every user's bridge; zeros in the paper.
        strength: weight of the personal part, 0 to 1; 1 in the paper.
        fallback: (X, Y), the bridge of users without a usable history.
    """

    network: MetaNetwork
    common: Floats
    strength: float
    fallback: Floats

    def embed(self, source: SourceSide, users: Index) -> Floats:
        """(R, Y) float32 bridged embeddings; users without a history get the fallback bridge."""
        told = np.flatnonzero(source.histories[users, 0] > 0)
        with one_thread():
            embeddings: Floats = source.source_vectors[users] @ self.fallback
            for start in range(0, len(told), BLOCK):
                rows = told[start : start + BLOCK]
                if self.common is not self.fallback:
                    embeddings[rows] = source.source_vectors[users[rows]] @ self.common
                if self.strength:
                    embeddings[rows] += self.strength * personal_part(self.network, source, users[rows])
        return embeddings

    def embed_without(
        self, source: SourceSide, users: NDArray[np.int64], positions: NDArray[np.int64], vectors: Floats
    ) -> Floats:
        """(M, Y) float32: what ``embed`` would give if one item were not in a user's history.

        Args:
            source: has their histories with the item.
            users: (M,) ascending, each repeated for each of their items.
            positions: (M,) the item's position in the history.
            vectors: (M, X) float32, the users' source vectors without the item.
        """
        told = np.flatnonzero(np.count_nonzero(source.histories[users], axis=1) > 1)
        with one_thread():
            embeddings: Floats = vectors @ self.fallback
            if self.common is not self.fallback:
                embeddings[told] = vectors[told] @ self.common
            for start in range(0, len(told) if self.strength else 0, BLOCK):
                rows = told[start : start + BLOCK]
                readers, reader = np.unique(users[rows], return_inverse=True)
                with torch.inference_mode():
                    part = self.network.bridge_without(
                        torch.from_numpy(vectors[rows]),
                        *_read(source, readers),
                        torch.from_numpy(reader),
                        torch.from_numpy(positions[rows]),
                    )
                embeddings[rows] += self.strength * part.numpy()
        return embeddings

    def made_by(self, source: SourceSide, users: Index) -> NDArray[np.object_]:
        """(R,) which bridge made each user's embedding: the personal one, or the fallback."""
        return np.where(source.histories[users, 0] > 0, BRIDGE, COMMON_BRIDGE).astype(object)


def personal_part(network: MetaNetwork, source: SourceSide, users: Index) -> Floats:
    """(R, Y) float32: u W(history) of users who all have a history."""
    with torch.inference_mode():
        part: Floats = network.bridge(torch.from_numpy(source.source_vectors[users]), *_read(source, users)).numpy()
    return part


def _read(source: SourceSide, users: Index | NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
    """What the meta network reads of these users: item vectors, the mask of real items, and their stars."""
    items = source.histories[users]
    return (
        torch.from_numpy(source.history_vectors[items]),
        torch.from_numpy(items > 0),
        torch.from_numpy(source.history_stars[users]),
    )
