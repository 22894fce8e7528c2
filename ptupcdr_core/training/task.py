"""What every bridge is trained on, whichever base models stand on either side.

Shapes: U users, S source items, T target items, L history length, D embedding size, N training rows;
X coordinates of a source user's vector, Y coordinates of a target item's vector.

In the published recipe both vectors are the base models' own (X = Y = D). In the calibrated recipe they are extended
(X = D + 6, Y = D + 5), so that the strongest simple baseline is one entry of the bridge: the source offset times a
constant. The further coordinates say how harshly and how widely a person rates, how well liked an item is, and how much
is known of either; their products are most of what carries over where ratings are few.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData, Ratings, Scale
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.bridges import SourceSide
from ptupcdr_core.training.als import leave_one_out_item_vectors
from ptupcdr_core.training.calibrated import DAMPING, REGULARIZATION, CalibratedModel, carry_over

Model = BaseModel | CalibratedModel

FACTOR_SCALES = (1.0, 0.1, 0.001)
"""How large the entries between factors may be beside those between biases, offsets and counts. Where ratings are few,
factors are mostly noise, and one penalty for all entries would drown the others with them."""


@dataclass(frozen=True)
class BridgeRows:
    """Ratings of bridge-training users, as rows of task-oriented training, ordered by user.

    Args:
        users: (N,) int32.
        vectors: (M, Y) float32 target item vectors.
        pick: (N,) which of the M vectors is each row's.
        wanted: (N,) float32, what û · y should be: the rating less the item's offset.
    """

    users: Index
    vectors: Floats
    pick: Index
    wanted: Floats


@dataclass(frozen=True)
class BridgeTask(SourceSide):
    """Frozen source and target vectors, and the rows that bridges between them are trained on.

    Args:
        target: the target items' side of the score, Y coordinates.
        target_user_vectors: (U+1, Y) float32, the target model's own users: what mapping-oriented training wants.
        bridge_users: (R,) int32, bridge-training users.
        rows: the task-oriented rows.
        validation: ratings of the validation users, who chose the epoch.
        scale: of the target domain; predictions are clipped to it.
        prior: (X, Y) the bridge that training starts from and shrinks to: zeros, or the source offset carried over.
        expected: candidates (X, Y) for how large each entry's deviation from the prior may be; used in closed form.
        level: row and column of the entry that moves every prediction alike; used in closed form.
    """

    target: TargetItems
    target_user_vectors: Floats
    bridge_users: Index
    rows: BridgeRows
    validation: Ratings
    scale: Scale
    prior: Floats
    expected: tuple[Floats, ...] = ()
    level: tuple[int, int] | None = None

    def has_history(self, users: Index) -> np.ndarray:
        """(R,) bool: who of these users has a positive source item."""
        return np.asarray(self.histories[users, 0] > 0)


def bridge_task(data: PairData, source: Model, target: Model) -> BridgeTask:
    """Lay out bridge training for one pair's data and its two base models (both of the same recipe)."""
    if isinstance(source, CalibratedModel) and isinstance(target, CalibratedModel):
        return _calibrated_task(data, source, target)
    if isinstance(source, BaseModel) and isinstance(target, BaseModel):
        with one_thread():  # a DNN's tower is a matrix product
            return _published_task(data, source, target)
    raise TypeError("source and target model must be of the same recipe")


def _published_task(data: PairData, source: BaseModel, target: BaseModel) -> BridgeTask:
    ratings = data.bridge_ratings
    items = target_items(target)
    return BridgeTask(
        source_vectors=source.user_vectors(),
        history_vectors=history_vectors(source),
        histories=data.histories,
        history_stars=data.history_stars,
        target=items,
        target_user_vectors=target_user_vectors(target),
        bridge_users=data.cohorts["bridge"],
        rows=BridgeRows(ratings.users, items.vectors, ratings.items, ratings.stars),
        validation=data.target_validation,
        scale=data.target_scale,
        prior=np.zeros((source.size, target.size), np.float32),
    )


def _calibrated_task(data: PairData, source: CalibratedModel, target: CalibratedModel) -> BridgeTask:
    source_coordinates = SourceCoordinates.of(source)
    source_scale = source_coordinates.scale
    target_coordinates = _TargetCoordinates.of(target)
    size = source.user_embedding.shape[1]
    a = carry_over(data.bridge_ratings, source.user_offset, np.float32(target.mean), target.item_bias)
    prior = np.zeros((len(source_scale), len(target_coordinates.scale)), np.float32)
    prior[size, size] = a * source_scale[size] * target_coordinates.scale[size]
    return BridgeTask(
        source_vectors=source_coordinates(source),
        history_vectors=history_vectors(source),
        histories=data.histories,
        history_stars=data.history_stars,
        target=calibrated_items(target),
        target_user_vectors=target_user_vectors(target),
        bridge_users=data.cohorts["bridge"],
        rows=_leave_one_out_rows(data, target, target_coordinates),
        validation=data.target_validation,
        scale=data.target_scale,
        prior=prior,
        expected=tuple(
            np.outer(_block(size, len(source_scale), tau), _block(size, len(target_coordinates.scale), tau))
            for tau in FACTOR_SCALES
        ),
        level=(size + 1, size),
    )


def history_vectors(source: Model) -> Floats:
    """(S+1, D) source item vectors as the meta network reads them, for either recipe."""
    if isinstance(source, CalibratedModel):
        return source.item_embedding / _root_mean_square(source.item_embedding, source.item_counts)
    return source.item_vectors()


def target_user_vectors(target: Model) -> Floats:
    """(U+1, Y) the target model's own users in the target items' coordinates, for either recipe."""
    if isinstance(target, CalibratedModel):
        return _TargetCoordinates.of(target).users(target)
    return target.user_vectors()


def target_items(model: Model) -> TargetItems:
    """The target items' side of the score, for either recipe."""
    if isinstance(model, CalibratedModel):
        return calibrated_items(model)
    items = model.item_vectors()
    return TargetItems(items, np.zeros(len(items), np.float32))


def calibrated_items(target: CalibratedModel) -> TargetItems:
    """The target items' side of every calibrated score."""
    coordinates = _TargetCoordinates.of(target)
    vectors = coordinates(target.item_embedding, target.item_bias, target.item_counts)
    return TargetItems(vectors, target.mean + target.item_bias)


def _block(size: int, coordinates: int, tau: float) -> Floats:
    """(coordinates,) tau for the D factors and 1 for the others."""
    return np.where(np.arange(coordinates) < size, tau, 1).astype(np.float32)


def _leave_one_out_rows(data: PairData, target: CalibratedModel, coordinates: "_TargetCoordinates") -> BridgeRows:
    """The bridge's rows with each item as it would be without the row's own rating.

    An item with few raters remembers their ratings; a bridge trained on such items would trust them too much.
    """
    train = data.target_train
    vectors = leave_one_out_item_vectors(
        train.users,
        train.items,
        target.residuals(train),
        target.user_embedding,
        data.target_item_count,
        regularization=REGULARIZATION,
        weighted=False,
    )
    wanted = np.zeros(data.user_count + 1, bool)
    wanted[data.cohorts["bridge"]] = True
    keep = wanted[train.users]
    users, items, centered = train.users[keep], train.items[keep], train.stars[keep] - target.mean
    counts = target.item_counts[items]
    bias = (target.item_bias[items] * (counts + DAMPING) - centered) / (counts - 1 + DAMPING)
    rows = coordinates(vectors[keep], bias, counts - 1)
    return BridgeRows(users, rows, np.arange(len(users), dtype=np.int32), centered - bias)


@dataclass(frozen=True)
class SourceCoordinates:
    """How a source user is laid out in D + 6 coordinates of unit size: factors, offset, a constant, and spread; how
    much is known of the user, its square, and its product with the offset, so that an offset of few ratings can be
    trusted less."""

    mean_known: float
    scale: Floats

    @classmethod
    def of(cls, model: CalibratedModel) -> Self:
        """Take center and scale from the users that a source model was trained on."""
        rated = (model.user_counts > 0).astype(np.float32)
        plain = cls(_mean_known(model.user_counts, rated), np.ones(1, np.float32))
        return cls(plain.mean_known, _root_mean_square(plain(model), rated))

    def __call__(self, users: CalibratedModel) -> Floats:
        """(R+1, D+6) coordinates of a model's users: its own, or those folded into it."""
        known, offset = _known(users.user_counts, self.mean_known), users.user_offset
        coordinates = _extend(
            users.user_embedding, offset, np.ones_like(offset), users.user_spread, known, known**2, offset * known
        )
        return np.asarray(coordinates / self.scale, dtype=np.float32)


@dataclass(frozen=True)
class _TargetCoordinates:
    """How a target item is laid out in D + 5 coordinates of unit size: factors, a constant, and bias; how much is known
    of the item, its square, and its product with the bias."""

    mean_known: float
    scale: Floats

    @classmethod
    def of(cls, model: CalibratedModel) -> Self:
        """Take center and scale from a target model, popular items counting more."""
        plain = cls(_mean_known(model.item_counts, model.item_counts), np.ones(1, np.float32))
        laid_out = plain(model.item_embedding, model.item_bias, model.item_counts)
        return cls(plain.mean_known, _root_mean_square(laid_out, model.item_counts))

    def __call__(self, factors: Floats, bias: Floats, counts: Floats) -> Floats:
        """(R, D+5) coordinates of R items with these factors, biases and numbers of ratings."""
        known = _known(counts, self.mean_known)
        return np.asarray(
            _extend(factors, np.ones_like(bias), bias, known, known**2, bias * known) / self.scale, dtype=np.float32
        )

    def users(self, model: CalibratedModel) -> Floats:
        """(U+1, D+5): the model's own users in the same coordinates, so that û · y is p · q + offset."""
        own = _extend(model.user_embedding, model.user_offset, *[np.zeros_like(model.user_offset)] * 4)
        return np.asarray(own * self.scale, dtype=np.float32)


def _known(counts: Floats, mean: float) -> Floats:
    return np.asarray(np.log1p(counts) - np.float32(mean), dtype=np.float32)


def _mean_known(counts: Floats, weights: Floats) -> float:
    return float(np.sum(weights * np.log1p(counts), dtype=np.float64)) / max(float(weights.sum()), 1.0)


def _extend(factors: Floats, *columns: Floats) -> Floats:
    return np.concatenate([factors, *(column[:, None] for column in columns)], axis=1, dtype=np.float32)


def _root_mean_square(coordinates: Floats, weights: Floats) -> Floats:
    """(C,) the typical size of each coordinate, so that one penalty means the same for all of them."""
    # Summed in float64 by numpy: the last bits of a matrix product depend on the number of threads.
    mean_square = np.sum(weights[:, None] * coordinates**2, axis=0, dtype=np.float64) / max(float(weights.sum()), 1.0)
    return np.asarray(np.sqrt(np.where(mean_square > 0, mean_square, 1)), dtype=np.float32)
