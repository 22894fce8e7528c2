"""The calibrated base model past one machine: see ``training.calibrated.fit_calibrated``. The numbers are the same,
except for the order of float64 sums over blocks.

Shapes: U users, I items, D embedding size, m ratings of a block.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.store.tensors import Tensor
from ptupcdr_core.training.calibrated import LOSS_SAMPLE
from ptupcdr_core.training.calibrated_model import MOST_DAMPING, rater_weights, top_ratings
from ptupcdr_core.training.epochs import OnEpoch
from ptupcdr_core.training.variance_components import PASSES
from ptupcdr_spark.blocks import Make
from ptupcdr_spark.effects import CenteredLogs, Means, Shrunk, Values, counts
from ptupcdr_spark.least_squares import LeastSquares, Sides, vectors_of
from ptupcdr_spark.steps import Doubles, State, Steps


def fit_calibrated(steps: Steps, sides: Sides, model: LeastSquares, on_epoch: OnEpoch) -> dict[str, Tensor]:
    """Fit mean, biases and factors to one domain's stars; returns what ``CalibratedModel.tensors`` does.

    Args:
        steps: keeps intermediate results.
        sides: the ratings, at least one; their values are the stars.
        model: of the factors.
        on_epoch: told the mean squared training error after every iteration, on a sample of each block's ratings.
    """
    stars = steps.step("rating-stars", lambda: sides.users.step(_total))
    total, ratings = stars.told
    mean, highest = float(total / ratings), _highest(stars)
    effects = _Effects.fit(steps, sides, mean)
    biases, offsets = effects.items.shrunk(), effects.users.shrunk()
    left, deviation = _residuals(steps, sides, effects, mean)
    p, q = model.factorize(
        steps,
        "rating",
        left,
        max(1, int(ratings) // LOSS_SAMPLE),
        lambda number, _, error: on_epoch(number, {"training_loss": error}),
    )
    item_logs, user_logs = (CenteredLogs(1, one.mean_log) for one in (effects.items, effects.users))
    of_users = Means.of(
        steps, "rating-spread-users", left.users, _of_users(deviation), 3, effects.items.sent(item_logs, biases)
    )
    rated_counts, user_spread, agreement = (of_users.shrunk(value) for value in range(3))
    top_share = np.float32(steps.step("rating-tops", lambda: sides.users.step(_tops(highest))).told[0] / ratings)
    of_tops = Means.of(steps, "rating-tops-users", sides.users, _beyond_share(highest, top_share), 1)
    tops = of_tops.shrunk()
    sent = of_users.sent(user_spread, CenteredLogs(of_users.values, user_logs.mean))
    of_items = Means.of(steps, "rating-spread-items", left.items, _of_items(deviation), 4, sent)
    rater_spread, rater_counts, item_spread = (of_items.shrunk(value) for value in range(3))
    left.free(links=False)
    items, users = sides.items.cut, sides.users.cut
    dampings = (
        *(biases, effects.plain_items.shrunk(), rater_spread, rater_counts, item_spread),
        *(offsets, user_spread, rated_counts, tops, agreement),
    )
    return {
        "mean": np.asarray(np.float32(mean)),
        "item_bias": effects.items.state.table(items, biases),
        "item_mean": effects.plain_items.state.table(items, effects.plain_items.shrunk()),
        "rater_spread": of_items.state.table(items, rater_spread),
        "rater_counts": of_items.state.table(items, rater_counts),
        "item_spread": of_items.state.table(items, item_spread),
        "item_weighting": of_items.state.table(items, Shrunk(of_items.values, 3, biases.damping)),
        "user_offset": effects.users.state.table(users, offsets),
        "user_spread": of_users.state.table(users, user_spread),
        "rated_counts": of_users.state.table(users, rated_counts),
        "user_tops": of_tops.state.table(users, tops),
        "user_agreement": of_users.state.table(users, agreement),
        "user_embedding": p.table(users, vectors_of(model.size), model.size),
        "item_embedding": q.table(items, vectors_of(model.size), model.size),
        "user_counts": effects.users.state.table(users, counts(1)),
        "item_counts": effects.items.state.table(items, counts(1)),
        "mean_deviation": np.asarray(deviation),
        "highest": np.asarray(highest),
        "top_share": np.asarray(top_share),
        "dampings": np.minimum([one.damping for one in dampings], MOST_DAMPING).astype(np.float32),
    }


@dataclass(frozen=True)
class _Effects:
    """See ``training.variance_components.fit_effects``: effects after all rounds, and the items' after the first."""

    items: Means
    users: Means
    plain_items: Means

    @classmethod
    def fit(cls, steps: Steps, sides: Sides, mean: float) -> "_Effects":
        """Estimate the items' and the users' effects in turn."""
        beyond = _beyond(mean)
        users: Means | None = None
        rounds: list[tuple[Means, Means]] = []
        for number in range(PASSES):
            known = None if users is None else users.sent(users.shrunk())
            items = Means.of(steps, f"rating-items-{number}", sides.items, beyond, 1, known)
            users = Means.of(steps, f"rating-users-{number}", sides.users, beyond, 1, items.sent(items.shrunk()))
            rounds.append((items, users))
        return cls(*rounds[-1], rounds[0][0])


def _residuals(steps: Steps, sides: Sides, effects: _Effects, mean: float) -> tuple[Sides, np.float32]:
    """The ratings with residuals (stars less mean and effects) as their values, and the mean absolute residual."""
    items, users = effects.items, effects.users
    biases, offsets = items.shrunk(), users.shrunk()
    of_users = steps.step(
        "rating-left-users",
        lambda: sides.users.step(_left(mean, offsets, items_own=False), items.sent(biases), users.state),
    )
    of_items = steps.step(
        "rating-left-items",
        lambda: sides.items.step(_left(mean, biases, items_own=True), users.sent(offsets), items.state),
    )
    total, ratings = of_users.told
    return Sides(sides.users.valued(of_users), sides.items.valued(of_items)), np.float32(total / ratings)


def _total(rows: Csr, _: Floats, __: bytes) -> tuple[Floats, Doubles]:
    """Σ stars and their number; the highest of them in place of numbers of the rows."""
    return rows.values.max(keepdims=True), np.array([rows.values.sum(dtype=np.float64), len(rows.values)])


def _highest(stars: State) -> np.float32:
    """The highest of all stars, of what ``_total`` has made."""
    return np.float32(max(np.frombuffer(row["numbers"], np.float32)[0] for row in stars.frame.collect()))


def _tops(highest: np.float32) -> Make:
    """How many stars are the highest; no numbers of the rows."""
    return lambda rows, _, __: (np.zeros(0, np.float32), top_ratings(rows.values, highest).sum(keepdims=True))


def _beyond_share(highest: np.float32, share: np.float32) -> Values:
    """(m, 1) float64, see ``CalibratedModel.tops``."""
    return lambda rows, _, __: (top_ratings(rows.values, highest) - share)[:, None]


def _beyond(mean: float) -> Values:
    """(m, 1) float64 stars less the mean and the other side's effect."""
    return lambda rows, others, _: (rows.values.astype(np.float64) - mean - others[rows.columns, 0])[:, None]


def _left(mean: float, shrunk: Shrunk, *, items_own: bool) -> Make:
    """(m,) float32, subtracted in the order in which one machine does it."""

    def make(rows: Csr, others: Floats, own: bytes) -> tuple[Floats, Doubles]:
        effects = others[rows.columns, 0], np.repeat(shrunk(own), np.diff(rows.offsets))
        items, users = effects[::-1] if items_own else effects
        left = rows.values - np.float32(mean) - items - users
        return left, np.array([np.abs(left).sum(dtype=np.float64), len(left)])

    return make


def _of_users(deviation: np.float32) -> Values:
    """(m, 3) float32 of each residual: the log of how often its item was rated, how much further from the effects than
    others it is, and its product with the item's bias."""

    def values(rows: Csr, others: Floats, _: bytes) -> NDArray[Any]:
        logs, biases = others[rows.columns].T
        return np.column_stack([logs, np.abs(rows.values) - deviation, biases * rows.values])

    return values


def _of_items(deviation: np.float32) -> Values:
    """(m, 4) float32 of each residual: its user's spread, and the log of how many ratings they have, how much further
    from the effects than others it is, and its product with the user's weight less one."""

    def values(rows: Csr, others: Floats, _: bytes) -> NDArray[Any]:
        spreads, logs = others[rows.columns].T
        weighed = (rater_weights(spreads, float(deviation)) - 1) * rows.values
        return np.column_stack([spreads, logs, np.abs(rows.values) - deviation, weighed])

    return values
