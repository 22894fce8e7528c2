"""The calibrated base model, and how bridges read it.

Shapes: U users, I items, R of either, N training rows, D embedding size. Row 0 of every table is padding and stays
zero.

A rating is μ + b_i + o_u + p_u · q_i. Bridges read extended vectors, so that the strongest simple baseline is a few
entries of the bridge: the source offset times a constant, and a constant times an item's bias. The further coordinates
hold how harshly and how widely a person rates, how often the highest, how much as others do, how well liked an item is,
by whom, and how much is known of either; where ratings are few, their products are most of what carries over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.models.bridge_rows import BridgeRows, Prior
from ptupcdr_core.training.als import leave_one_out_item_vectors
from ptupcdr_core.training.prior import RATERS, calibrated_prior
from ptupcdr_core.training.variance_components import shrunk_means_without_own

REGULARIZATION = 4.0
"""Ridge penalty of the factors; chosen on validation users of several pairs, flat between 2 and 8."""

DAMPED = (
    *("item_bias", "item_mean", "rater_spread", "rater_counts", "item_spread"),
    *("user_offset", "user_spread", "rated_counts", "user_tops", "user_agreement"),
)
"""Tables of items, then of users, whose damping a model keeps; versions before the last two kept no more than eight."""
OF_USERS = 9
"""Coordinates of a source user after the factors."""
SPREAD = 2
"""Place of the users' spread among the source coordinates after the factors."""
MOST_DAMPING = 1e12
"""Stands for infinity in a checkpoint, where every number is finite: so much damping makes a value 0."""
LEAST_DEVIATION = 0.1
"""Of the mean deviation: nobody's ratings are taken to lie nearer, so nobody counts as more than ten."""


@dataclass(frozen=True)
class CalibratedModel:
    """Biases and factors of one domain.

    Args:
        mean: () float32, μ, the mean of the training ratings.
        item_bias: (I+1,) float32, b, damped effect of each item, its raters' offsets taken out.
        item_mean: (I+1,) float32, damped mean of each item's ratings less μ, its raters' offsets left in.
        rater_spread: (I+1,) float32, damped mean of ``user_spread`` over each item's ratings: ratings of people who
            rate widely say less.
        rater_counts: (I+1,) float32, damped mean of log(1 + ``user_counts``) over each item's ratings, centered.
        item_spread: (I+1,) float32, how much further than others an item's ratings lie from mean and biases: the damped
            mean of |residual| less ``mean_deviation``.
        item_weighting: (I+1,) float32, by how much b would change, to first order, if ratings counted by
            ``rater_weights``; part of what is predicted for cold-start users.
        user_offset: (U+1,) float32, o, damped mean residual of each user beyond the item biases.
        user_spread: (U+1,) float32, the same of a user's ratings.
        rated_counts: (U+1,) float32, damped mean of log(1 + ``item_counts``) over each user's ratings, centered: who
            keeps to what is popular.
        user_tops: (U+1,) float32, damped share of each user's ratings that are ``highest``, less ``top_share``. It says
            more than the offset where most ratings are high, since an offset then hangs on the few low ones.
        user_agreement: (U+1,) float32, damped mean of b · residual over each user's ratings: above 0 if what others
            like or dislike moves this person more than it moves them.
        user_embedding: (U+1, D) float32, p.
        item_embedding: (I+1, D) float32, q.
        user_counts: (U+1,) float32, number of training ratings.
        item_counts: (I+1,) float32, number of training ratings.
        mean_deviation: () float32, the mean of |residual| over the training ratings.
        highest: () float32, the highest training rating; of several domains, of all of them.
        top_share: () float32, the share of training ratings that are the highest.
        dampings: (10,) float32, pseudo-ratings of each table of ``DAMPED``; ``MOST_DAMPING`` where one says nothing.
    """

    mean: Floats
    item_bias: Floats
    item_mean: Floats
    rater_spread: Floats
    rater_counts: Floats
    item_spread: Floats
    item_weighting: Floats
    user_offset: Floats
    user_spread: Floats
    rated_counts: Floats
    user_tops: Floats
    user_agreement: Floats
    user_embedding: Floats
    item_embedding: Floats
    user_counts: Floats
    item_counts: Floats
    mean_deviation: Floats
    highest: Floats
    top_share: Floats
    dampings: Floats

    @property
    def item_dampings(self) -> Floats:
        """(6,) those of item biases, item means, rater spreads, rater counts, item spreads, and the biases' again."""
        return self.dampings[[0, 1, 2, 3, 4, 0]]

    def damping(self, name: str) -> float:
        """Pseudo-ratings of a table of ``DAMPED``."""
        return float(self.dampings[DAMPED.index(name)])

    @property
    def popularity(self) -> Floats:
        """(I+1,) log(1 + ``item_counts``), centered over the training ratings."""
        return centered_logs(self.item_counts)

    def of_items(self, ratings: Ratings) -> tuple[NDArray[np.floating], ...]:
        """The values, (N,) each, whose damped means are the items' biases, means, rater spreads, rater counts, spreads
        and weightings.

        Args:
            ratings: those that the model was trained on.
        """
        centered, residuals = ratings.stars - self.mean, self.residuals(ratings)
        return (
            centered - self.user_offset[ratings.users],
            centered,
            self.user_spread[ratings.users],
            centered_logs(self.user_counts)[ratings.users],
            np.abs(residuals) - self.mean_deviation,
            (rater_weights(self.user_spread, float(self.mean_deviation))[ratings.users] - 1) * residuals,
        )

    def residuals(self, ratings: Ratings) -> Floats:
        """(N,) each rating less mean and biases: the part that the factors explain."""
        baseline = self.mean + self.item_bias[ratings.items] + self.user_offset[ratings.users]
        return np.asarray(ratings.stars - baseline, dtype=np.float32)

    def tops(self, ratings: Ratings) -> NDArray[np.float64]:
        """(N,) whether each rating is the highest, 1 or 0, less the share of those that are."""
        return top_ratings(ratings.stars, self.highest) - self.top_share

    def source_vectors(self) -> Floats:
        """(U+1, D+9) its users as a bridge reads them."""
        return SourceCoordinates.of(self)(self)

    def history_vectors(self) -> Floats:
        """(I+1, D) its items as the meta network reads them."""
        return self.item_embedding / root_mean_square(self.item_embedding, self.item_counts)

    def target_items(self) -> TargetItems:
        """The items' side of every score."""
        offset = self.mean + self.item_bias + self.item_weighting
        return TargetItems(TargetCoordinates.of(self).of_model(self), offset)

    def target_users(self) -> Floats:
        """(U+1, D+9) its own users in the target items' coordinates."""
        return TargetCoordinates.of(self).users(self)

    def bridge_rows(self, data: PairData) -> BridgeRows:
        """The bridge's rows with each item as it would be without the row's own rating.

        The vector of an item with few raters contains their ratings; a bridge trained on it would trust it too much.
        """
        train = data.target_train
        vectors = leave_one_out_item_vectors(
            train.users,
            train.items,
            self.residuals(train),
            self.user_embedding,
            data.target_item_count,
            regularization=REGULARIZATION,
            weighted=False,
        )
        wanted = np.zeros(data.user_count + 1, bool)
        wanted[data.cohorts["bridge"]] = True
        keep = wanted[train.users]
        users, items, centered = train.users[keep], train.items[keep], train.stars[keep] - self.mean
        *of_items, weighting = [
            shrunk_means_without_own(train.items, values, data.target_item_count, float(damping))[keep]
            for values, damping in zip(self.of_items(train), self.item_dampings, strict=True)
        ]
        rows = TargetCoordinates.of(self)(vectors[keep], *of_items, self.item_counts[items] - 1)
        return BridgeRows(users, rows, np.arange(len(users), dtype=np.int32), centered - of_items[0] - weighting)

    def prior(self, source_vectors: Floats, rows: BridgeRows) -> Prior:
        """The strongest simple baseline as a bridge."""
        factors = source_vectors.shape[1] - OF_USERS  # with several source domains more than in the target
        left_in = float(TargetCoordinates.of(self).scale[self.item_embedding.shape[1] + RATERS])
        return calibrated_prior(source_vectors, rows, (factors, self.item_embedding.shape[1]), left_in)

    def tensors(self) -> dict[str, Floats]:
        """Return the parameters by name, as a checkpoint stores them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats]) -> Self:
        """Make the model that ``tensors()`` described. What older versions did not store is zero for everybody, also
        for those who are folded in."""
        users, number = np.zeros_like(tensors["user_offset"]), np.zeros((), np.float32)
        absent = {
            "item_weighting": np.zeros_like(tensors["item_bias"]),
            **dict.fromkeys(("user_tops", "user_agreement"), users),
            **dict.fromkeys(("highest", "top_share"), number),
        }
        dampings = tensors["dampings"]
        padded = np.pad(dampings, (0, len(DAMPED) - len(dampings)), constant_values=MOST_DAMPING)
        return cls(**{**absent, **tensors, "dampings": padded})


@dataclass(frozen=True)
class SourceCoordinates:
    """A source user's D + 9 coordinates of unit size: factors, offset, a constant, spread, and taste for popular items;
    then how much is known of the user, its square, and its product with the offset, so that an offset of few ratings
    can be trusted less; then tops and agreement.

    Args:
        mean_known: mean log(1 + number of ratings) of the training's users, which is subtracted.
        scale: (D+9,) float32, size of each coordinate, by which it is divided; (D+7,) as older versions stored it,
            whose bridges read no more than the first D + 7.
    """

    mean_known: float
    scale: Floats

    @classmethod
    def of(cls, model: CalibratedModel) -> Self:
        """Take center and scale from the users that a source model was trained on."""
        rated = (model.user_counts > 0).astype(np.float32)
        size = model.user_embedding.shape[1] + OF_USERS
        plain = cls(_mean_known(model.user_counts, rated), np.ones(size, np.float32))
        return cls(plain.mean_known, root_mean_square(plain(model), rated))

    def __call__(self, users: CalibratedModel) -> Floats:
        """(R+1, D+9) coordinates of a model's users: its own, or those folded into it."""
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
            users.user_tops,
            users.user_agreement,
        )
        return np.asarray(coordinates[:, : len(self.scale)] / self.scale, dtype=np.float32)


@dataclass(frozen=True)
class TargetCoordinates:
    """A target item's D + 9 coordinates of unit size: factors, a constant, bias, what its raters' offsets add to its
    mean, how widely and how much its raters rate, how widely it is rated; then how much is known of the item,
    its square, and its product with the bias.

    Args:
        mean_known: mean log(1 + number of ratings) over the training ratings, which is subtracted.
        scale: (D+9,) float32, size of each coordinate, by which it is divided.
    """

    mean_known: float
    scale: Floats

    @classmethod
    def of(cls, model: CalibratedModel) -> Self:
        """Take center and scale from a target model, popular items counting more."""
        plain = cls(_mean_known(model.item_counts, model.item_counts), np.ones(1, np.float32))
        laid_out = plain.of_model(model)
        return cls(plain.mean_known, root_mean_square(laid_out, model.item_counts))

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


def root_mean_square(coordinates: Floats, weights: Floats) -> Floats:
    """(C,) the typical size of each coordinate, so that one penalty means the same for all of them."""
    # Summed in float64 by numpy: the last bits of a matrix product depend on the number of threads.
    mean_square = np.sum(weights[:, None] * coordinates**2, axis=0, dtype=np.float64) / max(float(weights.sum()), 1.0)
    return np.asarray(np.sqrt(np.where(mean_square > 0, mean_square, 1)), dtype=np.float32)


def rater_weights(user_spread: Floats, mean_deviation: float) -> Floats:
    """(U+1,) float32 how much a rating says of its item, on average about 1: the inverse of how far from mean and
    effects the person's ratings are expected to lie.

    Args:
        user_spread: (U+1,) how much further than others', in stars.
        mean_deviation: how far the others' lie, in stars.
    """
    expected = np.maximum(mean_deviation + user_spread, LEAST_DEVIATION * mean_deviation)
    weights = np.divide(mean_deviation, expected, out=np.ones_like(user_spread), where=expected > 0)
    return np.asarray(weights, np.float32)


def top_ratings(stars: Floats, highest: Floats | np.float32) -> NDArray[np.float64]:
    """(N,) 1 for the highest rating, 0 for others."""
    return (stars >= highest).astype(np.float64)


def centered_logs(counts: Floats) -> Floats:
    """(G+1,) log(1 + count) of users or items, less its mean over ratings."""
    logs = np.log1p(counts.astype(np.float64))
    return np.asarray(logs - counts @ logs / max(float(counts.sum()), 1.0), np.float32)
