"""Item and user effects, each shrunk towards zero by a number of pseudo-ratings that is estimated from the ratings.

A rating is mean + item effect + user effect + noise. The best linear estimate of a group's effect (Henderson 1975) is
the sum of its residuals over n + k, where k = within / between, the variance of ratings within a group over that of the
groups' true effects. Both variances come from the ratings by moments (the analysis of variance for groups of unequal
size, Searle, Casella and McCulloch 1992, chapter 3): unbiased, in closed form, nothing tuned.

Shapes: N ratings, G groups (users or items), U users, I items. Group 0 is padding.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import Ratings

Doubles = NDArray[np.float64]

LEAST_DAMPING = 1e-6
"""Above 0, so that the mean of no values is zero."""
PASSES = 4
"""Rounds of item and user effects in turn: harsh raters pull down the items that they rate, and the other way round."""


@dataclass(frozen=True)
class VarianceComponents:
    """How values vary within groups and between the groups' true means.

    Args:
        within: variance of a value around its group's mean; 0 where no group has two values.
        between: variance of the groups' means beyond what ``within`` explains; 0 where that explains all.
    """

    within: float
    between: float

    @property
    def damping(self) -> float:
        """K, the pseudo-values at zero that a group's mean is taken with; infinity where groups do not differ."""
        return max(self.within / self.between, LEAST_DAMPING) if self.between > 0 else float("inf")

    @classmethod
    def of(cls, groups: Index, values: Floats | Doubles, count: int) -> "VarianceComponents":
        """Estimate both by moments.

        Args:
            groups: (N,) group of each value, in 0..G.
            values: (N,) finite.
            count: G.
        """
        return cls.of_sums(*_sums(groups, values, count), _square(values))

    @classmethod
    def of_sums(cls, sizes: Doubles, sums: Doubles, square: float) -> "VarianceComponents":
        """Estimate both from groups whose values are summed up already.

        Args:
            sizes: (G+1,) number of values of each group.
            sums: (G+1,) of its values.
            square: Σ of the squares of all values.
        """
        present = sizes > 0
        n, total, number = sizes[present], float(sizes.sum()), int(present.sum())
        means = sums[present] / n
        within = max(square - float(n @ np.square(means)), 0.0)
        between = float(n @ np.square(means - sums.sum() / total)) if number else 0.0
        return cls.of_moments(Moments(total, number, float(n @ n), within, between))

    @classmethod
    def of_moments(cls, moments: "Moments") -> "VarianceComponents":
        """Estimate both from sums over all groups."""
        total, number = moments.values, moments.groups
        if number < 2 or total == number:  # a group's mean cannot be distinguished from the others', or from noise
            return cls(0.0, 0.0)
        within = moments.within / (total - number)
        spread = moments.between - (number - 1) * within
        return cls(within, max(spread / (total - moments.squares / total), 0.0))


class Moments(NamedTuple):
    """Sums over groups of n values each.

    Args:
        values: Σ n.
        groups: number of groups that have a value.
        squares: Σ n².
        within: Σ of all values' squared distances from their groups' means.
        between: Σ n times the squared distance of the group's mean from that of all values.
    """

    values: float
    groups: float
    squares: float
    within: float
    between: float


@dataclass(frozen=True)
class Effects:
    """Mean and effects of one domain's ratings.

    Args:
        mean: the mean rating.
        items: (I+1,) float32, zero for padding and items without ratings.
        users: (U+1,) float32, beyond the items' effects; zero for padding and users without ratings.
        item_damping: k of the items, in ratings; may be infinity.
        user_damping: k of the users, the same.
    """

    mean: float
    items: Floats
    users: Floats
    item_damping: float
    user_damping: float


def shrunk_means(groups: Index, values: Floats | Doubles, count: int, damping: float) -> Floats:
    """(G+1,) float32 Σ values / (n + damping) of each group; zeros for an infinite damping.

    Args:
        groups: (N,) in 0..G.
        values: (N,).
        count: G.
        damping: k, above 0.
    """
    sizes, sums = _sums(groups, values, count)
    return np.asarray(sums / (sizes + damping), np.float32)


def shrunk_means_without_own(groups: Index, values: Floats | Doubles, count: int, damping: float) -> Floats:
    """(N,) float32: for each value, its group's ``shrunk_means`` as if that one value were not there; zero where alone.

    A model fitted to ratings must not read item effects that contain the same rating, or it trusts them too much.
    """
    sizes, sums = _sums(groups, values, count)
    return np.asarray((sums[groups] - values) / (sizes[groups] - 1 + damping), np.float32)


def fit_effects(ratings: Ratings, user_count: int, item_count: int, *, passes: int = PASSES) -> Effects:
    """Estimate dampings and effects in turn, items first.

    Args:
        ratings: N, at least one.
        user_count: U.
        item_count: I.
        passes: at least 1; 1 takes item effects of the centered ratings, and user effects of their residuals.
    """
    mean = float(ratings.stars.mean(dtype=np.float64))
    centered = ratings.stars.astype(np.float64) - mean
    of_items, of_users = _sizes(ratings.items, item_count), _sizes(ratings.users, user_count)
    users = np.zeros(user_count + 1, np.float32)
    for _ in range(passes):
        items, item_damping = _effects(ratings.items, of_items, centered - users[ratings.users])
        users, user_damping = _effects(ratings.users, of_users, centered - items[ratings.items])
    return Effects(mean, items, users, item_damping, user_damping)


def _effects(groups: Index, sizes: Doubles, values: Doubles) -> tuple[Floats, float]:
    """(G+1,) the groups' shrunken means, and the damping that is estimated for them."""
    sums = np.asarray(np.bincount(groups, values, len(sizes)), np.float64)
    damping = VarianceComponents.of_sums(sizes, sums, _square(values)).damping
    return np.asarray(sums / (sizes + damping), np.float32), damping


def _sums(groups: Index, values: Floats | Doubles, count: int) -> tuple[Doubles, Doubles]:
    """(G+1,) size and (G+1,) sum of each group."""
    return _sizes(groups, count), np.bincount(groups, values, count + 1).astype(np.float64)


def _sizes(groups: Index, count: int) -> Doubles:
    """(G+1,) size of each group."""
    return np.bincount(groups, minlength=count + 1).astype(np.float64)


def _square(values: Floats | Doubles) -> float:
    """Σ of their squares."""
    wide = np.asarray(values, np.float64)
    return float(wide @ wide)
