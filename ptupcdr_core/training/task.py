"""What every bridge is trained on, whichever base models stand on either side.

Shapes: U users, S source items, T target items, L history length, D embedding size, N training rows;
X coordinates of a source user's vector, Y coordinates of a target item's vector.

In the published setting both vectors are the base models' own (X = Y = D). In the calibrated setting they are extended
(X = D + 7, Y = D + 9), so that the strongest simple baseline is a few entries of the bridge: the source offset times a
constant, and a constant times what there is to say of an item as such. The further coordinates say how harshly and how
widely a person rates, how well liked an item is, by whom, and how much is known of either; their products are most of
what carries over where ratings are few.
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
from ptupcdr_core.training.calibrated import REGULARIZATION, CalibratedModel
from ptupcdr_core.training.variance_components import shrunk_means_without_own

Model = BaseModel | CalibratedModel

FACTOR_SCALES = (1.0, 0.1, 0.001)
"""How large the entries between factors may be beside those between biases, offsets and counts. Where ratings are few,
factors are mostly noise, and one penalty for all entries would drown the others with them."""

NEGLIGIBLE = 0.001
AS_SUCH = 5
"""Coordinates of an item that a constant is multiplied with in the prior: a constant, bias, and three of its raters."""
PRIOR_PENALTY = 10.0
"""Ridge penalty of the prior's six numbers: nothing beside thousands of rows, caution beside a hundred."""


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
        prior: (X, Y) the bridge that training starts from and shrinks to: zeros, or the strongest simple baseline.
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
    source_vectors = source_coordinates(source)
    rows = _leave_one_out_rows(data, target, target_coordinates)
    prior = np.zeros((len(source_scale), len(target_coordinates.scale)), np.float32)
    _carry_over(prior, source_vectors, rows, size)
    return BridgeTask(
        source_vectors=source_vectors,
        history_vectors=history_vectors(source),
        histories=data.histories,
        history_stars=data.history_stars,
        target=calibrated_items(target),
        target_user_vectors=target_user_vectors(target),
        bridge_users=data.cohorts["bridge"],
        rows=rows,
        validation=data.target_validation,
        scale=data.target_scale,
        prior=prior,
        expected=_expected(size, *prior.shape),
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
    return TargetItems(coordinates.of_model(target), target.mean + target.item_bias)


def _carry_over(prior: Floats, source_vectors: Floats, rows: BridgeRows, size: int) -> None:
    """Write into the prior what a few numbers say best, by least squares over the rows: the slope of the source offset,
    an intercept, and how far what there is to say of an item as such is to be believed for people like these."""
    vectors = rows.vectors[rows.pick]
    offset, items = source_vectors[rows.users, size, None] * vectors[:, size, None], vectors[:, size : size + AS_SUCH]
    read = np.concatenate([offset, items], axis=1).astype(np.float64)
    # Summed by numpy: the last bits of a matrix product depend on the number of threads.
    left = np.einsum("nc,nd->cd", read, read) + PRIOR_PENALTY * np.eye(read.shape[1])
    slope, *of_items = np.linalg.solve(left, np.einsum("nc,n->c", read, rows.wanted))
    prior[size, size] = slope
    prior[size + 1, size : size + AS_SUCH] = of_items


def _expected(size: int, source: int, target: int) -> tuple[Floats, ...]:
    """How large entries (source, target) may be: by ``FACTOR_SCALES``; and where nothing but the person as such counts,
    whose few entries are known better than all of them."""

    def block(coordinates: int, tau: float) -> Floats:
        return np.where(np.arange(coordinates) < size, tau, 1).astype(np.float32)

    constant = np.where(np.arange(target) == size, 1, NEGLIGIBLE).astype(np.float32)
    blocks = [np.outer(block(source, tau), block(target, tau)) for tau in FACTOR_SCALES]
    return *blocks, np.outer(block(source, NEGLIGIBLE), constant)


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
    of_items = [
        shrunk_means_without_own(train.items, values, data.target_item_count, float(damping))[keep]
        for values, damping in zip(target.of_items(train), target.item_dampings, strict=True)
    ]
    rows = coordinates(vectors[keep], *of_items, target.item_counts[items] - 1)
    return BridgeRows(users, rows, np.arange(len(users), dtype=np.int32), centered - of_items[0])


@dataclass(frozen=True)
class SourceCoordinates:
    """How a source user is laid out in D + 7 coordinates of unit size: factors, offset, a constant, spread, and taste
    for what is popular; how much is known of the user, its square, and its product with the offset, so that an offset
    of few ratings can be trusted less."""

    mean_known: float
    scale: Floats

    @classmethod
    def of(cls, model: CalibratedModel) -> Self:
        """Take center and scale from the users that a source model was trained on."""
        rated = (model.user_counts > 0).astype(np.float32)
        plain = cls(_mean_known(model.user_counts, rated), np.ones(1, np.float32))
        return cls(plain.mean_known, _root_mean_square(plain(model), rated))

    def __call__(self, users: CalibratedModel) -> Floats:
        """(R+1, D+7) coordinates of a model's users: its own, or those folded into it."""
        known, offset = _known(users.user_counts, self.mean_known), users.user_offset
        coordinates = _extend(
            users.user_embedding,
            offset,
            np.ones_like(offset),
            users.user_spread,
            users.rated_counts,
            known,
            known**2,
            offset * known,
        )
        return np.asarray(coordinates / self.scale, dtype=np.float32)


@dataclass(frozen=True)
class _TargetCoordinates:
    """How a target item is laid out in D + 9 coordinates of unit size: factors, a constant, bias, what its raters'
    offsets add to its mean, how widely and how much its raters rate, how widely it is rated; how much is known of the
    item, its square, and its product with the bias."""

    mean_known: float
    scale: Floats

    @classmethod
    def of(cls, model: CalibratedModel) -> Self:
        """Take center and scale from a target model, popular items counting more."""
        plain = cls(_mean_known(model.item_counts, model.item_counts), np.ones(1, np.float32))
        laid_out = plain.of_model(model)
        return cls(plain.mean_known, _root_mean_square(laid_out, model.item_counts))

    def of_model(self, model: CalibratedModel) -> Floats:
        """(I+1, D+9) a model's own items."""
        raters = model.rater_spread, model.rater_counts
        return self(
            model.item_embedding, model.item_bias, model.item_mean, *raters, model.item_spread, model.item_counts
        )

    def __call__(self, factors: Floats, bias: Floats, mean: Floats, *further: Floats) -> Floats:
        """(R, D+9) coordinates of R items.

        Args:
            factors: (R, D).
            bias: (R,).
            mean: (R,), its raters' offsets left in.
            further: (R,) each: rater spread, rater counts, item spread, number of ratings.
        """
        known = _known(further[-1], self.mean_known)
        as_such = np.ones_like(bias), bias, mean - bias, *further[:-1]
        return np.asarray(_extend(factors, *as_such, known, known**2, bias * known) / self.scale, dtype=np.float32)

    def users(self, model: CalibratedModel) -> Floats:
        """(U+1, D+9): the model's own users in the same coordinates, so that û · y is p · q + offset."""
        own = _extend(model.user_embedding, model.user_offset, *[np.zeros_like(model.user_offset)] * 8)
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
