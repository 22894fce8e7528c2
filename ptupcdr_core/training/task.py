"""What every bridge is trained on, whichever base models stand on either side.

Shapes: U users, S source items, T target items, L history length, D embedding size, N training rows;
X coordinates of a source user's vector, Y coordinates of a target item's vector.

In the published setting both vectors are the base models' own (X = Y = D). In the calibrated setting they are extended
(X = Y = D + 3), so that the strongest simple baseline is one entry of the bridge: the source offset times a constant.
"""

from dataclasses import dataclass

import numpy as np

from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.calibrated import DAMPING, REGULARIZATION, CalibratedModel, carry_over
from ptupcdr_core.models.scorer import TargetItems
from ptupcdr_core.pair_data import Floats, Index, PairData, Ratings, Scale
from ptupcdr_core.training.als import leave_one_out_item_vectors

Model = BaseModel | CalibratedModel


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
class BridgeTask:
    """Frozen source and target vectors, and the rows that bridges between them are trained on.

    Args:
        source_vectors: (U+1, X) float32, what a bridge is applied to.
        history_vectors: (S+1, D) float32 source item vectors, what the meta network reads.
        histories: (U+1, L) int32 source items, padded with 0 at the end.
        target: the target items' side of the score, Y coordinates.
        target_user_vectors: (U+1, Y) float32, the target model's own users: what mapping-oriented training wants.
        bridge_users: (R,) int32, bridge-training users.
        rows: the task-oriented rows.
        validation: ratings of the validation users, who chose the epoch.
        scale: of the target domain; predictions are clipped to it.
        prior: (X, Y) the bridge that training starts from and shrinks to: zeros, or the source offset carried over.
    """

    source_vectors: Floats
    history_vectors: Floats
    histories: Index
    target: TargetItems
    target_user_vectors: Floats
    bridge_users: Index
    rows: BridgeRows
    validation: Ratings
    scale: Scale
    prior: Floats

    def has_history(self, users: Index) -> np.ndarray:
        """(R,) bool: who of these users has a positive source item."""
        return np.asarray(self.histories[users, 0] > 0)


def bridge_task(data: PairData, source: Model, target: Model) -> BridgeTask:
    """Lay out bridge training for one pair's data and its two base models (both of the same setting)."""
    if isinstance(source, CalibratedModel) and isinstance(target, CalibratedModel):
        return _calibrated_task(data, source, target)
    if isinstance(source, BaseModel) and isinstance(target, BaseModel):
        return _published_task(data, source, target)
    raise TypeError("source and target model must be of the same setting")


def _published_task(data: PairData, source: BaseModel, target: BaseModel) -> BridgeTask:
    ratings = data.bridge_ratings
    items = target.item_vectors()
    return BridgeTask(
        source_vectors=source.user_vectors(),
        history_vectors=source.item_vectors(),
        histories=data.histories,
        target=TargetItems(items, np.zeros(len(items), np.float32)),
        target_user_vectors=target.user_vectors(),
        bridge_users=data.cohorts["bridge"],
        rows=BridgeRows(ratings.users, items, ratings.items, ratings.stars),
        validation=data.target_validation,
        scale=data.target_scale,
        prior=np.zeros((source.size, target.size), np.float32),
    )


def _calibrated_task(data: PairData, source: CalibratedModel, target: CalibratedModel) -> BridgeTask:
    source_scale = _root_mean_square(_source_coordinates(source), (source.user_counts > 0).astype(np.float32))
    target_scale = _root_mean_square(_target_coordinates(target), target.item_counts)
    size = source.user_embedding.shape[1]
    a = carry_over(data.bridge_ratings, source.user_offset, np.float32(target.mean), target.item_bias)
    prior = np.zeros((size + 3, size + 3), np.float32)
    prior[size, size] = a * source_scale[size] * target_scale[size]
    own = np.concatenate(
        [target.user_embedding, target.user_offset[:, None], np.zeros((len(target.user_offset), 2))], 1
    )
    return BridgeTask(
        source_vectors=_source_coordinates(source) / source_scale,
        history_vectors=source.item_embedding / _root_mean_square(source.item_embedding, source.item_counts),
        histories=data.histories,
        target=TargetItems(_target_coordinates(target) / target_scale, target.mean + target.item_bias),
        target_user_vectors=(own * target_scale).astype(np.float32),
        bridge_users=data.cohorts["bridge"],
        rows=_leave_one_out_rows(data, target, target_scale),
        validation=data.target_validation,
        scale=data.target_scale,
        prior=prior,
    )


def _leave_one_out_rows(data: PairData, target: CalibratedModel, target_scale: Floats) -> BridgeRows:
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
    coordinates = _extend(vectors[keep], np.ones_like(bias), bias, np.log1p(counts - 1)) / target_scale
    return BridgeRows(users, coordinates, np.arange(len(users), dtype=np.int32), centered - bias)


def _source_coordinates(model: CalibratedModel) -> Floats:
    """(U+1, D+3): factors, offset, a constant, and how much is known of the user."""
    return _extend(
        model.user_embedding, model.user_offset, np.ones_like(model.user_offset), np.log1p(model.user_counts)
    )


def _target_coordinates(model: CalibratedModel) -> Floats:
    """(T+1, D+3): factors, a constant, bias, and how much is known of the item."""
    return _extend(model.item_embedding, np.ones_like(model.item_bias), model.item_bias, np.log1p(model.item_counts))


def _extend(factors: Floats, *columns: Floats) -> Floats:
    return np.concatenate([factors, *(column[:, None] for column in columns)], axis=1, dtype=np.float32)


def _root_mean_square(coordinates: Floats, weights: Floats) -> Floats:
    """(C,) the typical size of each coordinate, so that one penalty means the same for all of them."""
    mean_square = weights @ coordinates**2 / max(float(weights.sum()), 1.0)
    return np.asarray(np.sqrt(np.where(mean_square > 0, mean_square, 1)), dtype=np.float32)
