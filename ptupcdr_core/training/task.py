"""What every bridge is trained on, whatever the base models of the two sides.

Shapes: U users, S source items, T target items, L history length, D embedding size, N training rows; X coordinates of a
source user's vector, Y coordinates of a target item's vector. In the reference's recipes both vectors are the base
models' own (X = Y = D); calibrated ones have further coordinates.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings, Scale
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridge_rows import BridgeRows, Prior
from ptupcdr_core.models.bridges import SourceSide
from ptupcdr_core.store.artifacts import Tensors


class Model(Protocol):
    """A base model of one domain, of any recipe: what bridges read of it on either side."""

    def tensors(self) -> Tensors:
        """The parameters by name, as a checkpoint stores them."""

    def source_vectors(self) -> Floats:
        """(U+1, X) its users as a bridge reads them."""

    def history_vectors(self) -> Floats:
        """(S+1, D) its items as the meta network reads them."""

    def target_items(self) -> TargetItems:
        """The target items' side of the score."""

    def target_users(self) -> Floats:
        """(U+1, Y) its own users in the target items' coordinates."""

    def bridge_rows(self, data: PairData) -> BridgeRows:
        """The rows that a bridge to it is trained on."""

    def prior(self, source_vectors: Floats, rows: BridgeRows) -> Prior:
        """The prior of a bridge to it from these (U+1, X) vectors."""


@dataclass(frozen=True)
class BridgeTask(SourceSide):
    """Frozen source and target vectors, and the rows that bridges between them are trained on.

    Args:
        target: the target items' side of the score, Y coordinates.
        target_user_vectors: (U+1, Y) float32, the target model's own users, to which mapping-oriented training maps.
        bridge_users: (R,) int32, bridge-training users.
        rows: the task-oriented rows.
        validation: ratings of the validation users, who choose the epoch.
        scale: of the target domain; predictions are clipped to it.
        prior: (X, Y) the bridge that training starts from and shrinks towards: zeros, or the strongest simple baseline.
        expected: candidates (X, Y) for how large each entry's deviation from the prior may be; used in closed form.
        effects: (X, Y) the same if only coordinates of people, of items, and a few of their products count; used in
            closed form.
        level: row and column of the entry that shifts all predictions equally; used in closed form.
    """

    target: TargetItems
    target_user_vectors: Floats
    bridge_users: Index
    rows: BridgeRows
    validation: Ratings
    scale: Scale
    prior: Floats
    expected: tuple[Floats, ...] = ()
    effects: Floats | None = None
    level: tuple[int, int] | None = None

    def has_history(self, users: Index) -> np.ndarray:
        """(R,) bool: which of these users have a positive source item."""
        return np.asarray(self.histories[users, 0] > 0)


def bridge_task(data: PairData, source: Model, target: Model) -> BridgeTask:
    """Collect what bridges are trained on from one pair's data and its two base models.

    Raises:
        TypeError: the two are not of the same recipe.
    """
    if type(source) is not type(target):
        raise TypeError("source and target model must be of the same recipe")
    with one_thread():  # a DNN's tower is a matrix product
        source_vectors, rows = source.source_vectors(), target.bridge_rows(data)
        prior = target.prior(source_vectors, rows)
        return BridgeTask(
            source_vectors=source_vectors,
            history_vectors=source.history_vectors(),
            histories=data.histories,
            history_stars=data.history_stars,
            target=target.target_items(),
            target_user_vectors=target.target_users(),
            bridge_users=data.cohorts["bridge"],
            rows=rows,
            validation=data.target_validation,
            scale=data.scale,
            prior=prior.bridge,
            expected=prior.expected,
            effects=prior.effects,
            level=prior.level,
        )
