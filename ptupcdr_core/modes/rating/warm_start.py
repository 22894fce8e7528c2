"""The warm-start evaluation: what a user's first target ratings add, by where the fine-tuning starts.

Methods, all with the item side trained without any rating of a held-out user:

``item_mean``: the damped mean of the item, whatever is known of the user.
``source_offset``: item mean plus the user's offset, a mean of the source offset, carried over, and the residuals of the
known ratings; the source offset counts as the number of ratings that is best for validation users.
``tgt``: the target model trained with the known ratings. Calibrated, the user is folded in with the model's own damping
and penalty; else the user's vector takes one gradient step per known rating and epoch, from the model's initial value.
``random``: fine-tuned from a random initial value, drawn as the recipe draws a model's vectors.
``emcdr``, ``common_bridge``, ``ptupcdr``: fine-tuned from the embedding that this bridge gives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.data.warm_split import KNOWN, Known, WarmSplit
from ptupcdr_core.evaluation.labels import labels
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.rating_errors import rating_errors
from ptupcdr_core.modes.base import FineTuned
from ptupcdr_core.modes.rating.checkpoints import load_bridges, load_sides, load_task_and_bridges
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.training.als import INITIAL_SCALE
from ptupcdr_core.training.calibrated_model import REGULARIZATION, CalibratedModel
from ptupcdr_core.training.fine_tuning import RidgeTuning, StepTuning, Tuning, choose_tuning, tunings
from ptupcdr_core.training.task import BridgeTask, Model, bridge_task

OFFSET_DAMPINGS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Numbers of ratings that the source offset may count as."""


@dataclass(frozen=True)
class WarmMethod:
    """A method that predicts the second half of a user's ratings from known ones of the first half.

    Args:
        name: the method's name in tables.
        score: (N,) predicted stars of a split's second halves, not yet clipped to the scale.
    """

    name: str
    score: Callable[[WarmSplit, Known], Floats]


def warm_methods(
    data: PairData,
    task: BridgeTask,
    bridges: Sequence[FittedMethod],
    model: Model,
    validation: WarmSplit,
    settings: Settings,
) -> list[WarmMethod]:
    """Every method but ``ptupcdr``'s stored embeddings, each tuned on the validation users.

    Args:
        data: the pair's split.
        task: has the target's item side.
        bridges: the bridges to start from.
        model: the target model.
        validation: the validation users, on whom each tuning is chosen.
        settings: of the run; they decide which tunings are tried.
    """
    item_mean, source_offset = (method for method in simple_baselines(data) if method.name != "global_mean")
    offsets: list[Tuning] = [RidgeTuning(damping, np.ones(1, np.float32)) for damping in OFFSET_DAMPINGS]
    candidates = tunings(task, settings)
    starts = [random_start(task, settings), *bridges]
    return [
        WarmMethod(item_mean.name, lambda split, amount: item_mean.score(split.second)),
        tuned_method(source_offset, offsets, validation, data),
        _target_method(task, model, settings),
        *(tuned_method(start, candidates, validation, data) for start in starts),
    ]


def tuned_method(
    start: FittedMethod, candidates: Sequence[Tuning], validation: WarmSplit, data: PairData
) -> WarmMethod:
    """A start, followed by the tuning that is best for the validation users."""
    chosen = choose_tuning(candidates, start.embed(validation.users), start.items, validation, data.scale)

    def score(split: WarmSplit, amount: Known) -> Floats:
        vectors, known = start.embed(split.users), split.known(amount)
        tuned = chosen[amount](vectors, start.items, split.rows(known), known) if amount in chosen else vectors
        return _second(start.items, tuned, split)

    return WarmMethod(start.name, score)


def stored_method(name: str, items: TargetItems, embeddings: Mapping[Known, Floats]) -> WarmMethod:
    """The method of stored embeddings (R, Y), by number of known ratings."""
    return WarmMethod(name, lambda split, amount: _second(items, embeddings[amount], split))


def random_start(task: BridgeTask, settings: Settings) -> FittedMethod:
    """Every user's random initial value; the same for the same seed, whoever else is asked for."""
    scale = INITIAL_SCALE if settings.recipe == "calibrated" else 1.0
    rng = np.random.default_rng([settings.seed, *b"random_start"])
    vectors = rng.normal(0, scale, task.target_user_vectors.shape).astype(np.float32)
    return FittedMethod("random", task.target, lambda users: vectors[users])


def _target_method(task: BridgeTask, model: Model, settings: Settings) -> WarmMethod:
    if isinstance(model, CalibratedModel):
        return WarmMethod("tgt", lambda split, amount: folded_in(model, split, amount))
    tuning = StepTuning(settings.epochs, settings.learning_rate, each_rating=True)

    def score(split: WarmSplit, amount: Known) -> Floats:
        known = split.known(amount)
        start = task.target_user_vectors[split.users]
        return _second(task.target, tuning(start, task.target, split.rows(known), known), split)

    return WarmMethod("tgt", score)


def folded_in(model: CalibratedModel, split: WarmSplit, amount: Known) -> Floats:
    """(N,) stars of the second halves by the target model, which learns the users from their known ratings.

    The offset is the damped mean residual, then the factors explain what is left, as in fitting the model.
    """
    known, users = split.known(amount), np.zeros((len(split.users), 1), np.float32)
    items = model.mean + model.item_bias
    ones = np.ones((len(items), 1), np.float32)
    rows, wanted = split.rows(known), split.rows(split.second)
    offsets = RidgeTuning(model.damping("user_offset"), ones[0])(users, TargetItems(ones, items), rows, known)
    offset = offsets[:, 0]
    centered = Ratings(known.users, known.items, np.asarray(known.stars - offset[rows], np.float32))
    factors = TargetItems(model.item_embedding, items)
    size = model.item_embedding.shape[1]
    start = np.zeros((len(users), size), np.float32)
    tuned = RidgeTuning(REGULARIZATION, np.ones(size, np.float32))(start, factors, rows, centered)
    return np.asarray(factors.score(tuned, wanted, split.second.items) + offset[wanted], dtype=np.float32)


def evaluate_warm(
    data: PairData, methods: Sequence[WarmMethod], test: WarmSplit, settings: Settings, ids: NDArray[np.object_]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score the test users' second halves by every method, for every number of known ratings.

    Args:
        data: the pair's split.
        methods: all tuned on validation users.
        test: the test users.
        settings: written into each row.
        ids: (U+1,) user ids by index.

    Returns:
        One row a method and number of known ratings; and one row a method, number and test user, with the number of
        ratings in the second half and the sums of their absolute and squared errors.

    Raises:
        EvaluationError: a method left a rating without a score.
    """
    scale = data.scale if settings.clipped else None
    summaries, details = [], []
    for method in methods:
        for amount in KNOWN:
            errors = rating_errors(method.score(test, amount), test.second, scale)
            about = {**labels(data.pair, method.name, "rating", settings), "known_ratings": amount}
            sums = {"users": len(errors.users), "ratings": int(errors.counts.sum())}
            summaries.append({**about, **sums, "mae": errors.mae, "rmse": errors.rmse})
            by_user = {"user_id": ids[errors.users], "known_count": test.counts(amount), "ratings": errors.counts}
            both = {"absolute_error": errors.absolute, "squared_error": errors.squared}
            details.append(pd.DataFrame({**about, **by_user, **both}))
    return pd.DataFrame(summaries), pd.concat(details, ignore_index=True)


def _second(items: TargetItems, vectors: Floats, split: WarmSplit) -> Floats:
    return items.score(vectors, split.rows(split.second), split.second.items)


class FineTuning:
    """Warm start by fine-tuning what the bridge gives; see ``modes.base.WarmStart``."""

    def fine_tune(
        self, home: Home, data: PairData, settings: Settings, validation: WarmSplit, test: WarmSplit, bridged: Floats
    ) -> FineTuned:
        """Tune the test users' embeddings, with the tuning that is best for validation users."""
        task, bridges = load_task_and_bridges(home, data)
        start = bridges.personal.embed(task, validation.users)
        chosen = choose_tuning(tunings(task, settings), start, task.target, validation, data.scale)
        embeddings = {}
        for amount, tuning in chosen.items():
            known = test.known(amount)
            embeddings[amount] = tuning(bridged, task.target, test.rows(known), known)
        numbers = {amount: tuning.numbers() for amount, tuning in chosen.items()}
        return FineTuned(
            embeddings, {f"{name}_{amount}": value for amount, own in numbers.items() for name, value in own.items()}
        )

    def evaluate(
        self,
        home: Home,
        data: PairData,
        settings: Settings,
        validation: WarmSplit,
        test: WarmSplit,
        tuned: Mapping[Known, Floats],
        ids: NDArray[np.object_],
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Errors on the second halves of the test users' ratings; see ``evaluate_warm``."""
        sides = load_sides(home, data)
        task, bridges = bridge_task(data, sides.source, sides.target), load_bridges(home, data, sides.checksums)
        others = [method for method in bridges.methods(task) if method.name != "ptupcdr"]
        methods = warm_methods(data, task, others, sides.target, validation, settings)
        return evaluate_warm(data, [*methods, stored_method("ptupcdr", task.target, tuned)], test, settings, ids)
