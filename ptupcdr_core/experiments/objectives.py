"""What a search for settings optimizes, and what it varies: predicted ratings by RMSE, ranked lists by NDCG@10."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ptupcdr_core.data.pair_data import PairData, Scale
from ptupcdr_core.engines.choice import choose_engine
from ptupcdr_core.evaluation.rankings import rank_by_vectors
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.modes.ranking.bridging import RankingTask, train_ranking_bridges
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.settings import Attention, BridgeFormName, Mode, Settings
from ptupcdr_core.training.bridging import train_bridges
from ptupcdr_core.training.implicit import train_side
from ptupcdr_core.training.validation import validation_errors
from ptupcdr_core.versions import RESULTS, Result

Space = dict[str, BaseDistribution]


@dataclass(frozen=True)
class Objective:
    """What a search optimizes.

    Args:
        what: what is measured, in words.
        metric: name of the optimized metric among those that ``measure`` returns.
        direction: whether lower or higher is better.
        measure: trains on a split with these settings, and measures on validation users.
        space: gives what is searched, around the given settings and for the source domain's scale.
        trial: the version of its code, and the settings that its result depends on.
    """

    what: str
    metric: str
    direction: Literal["minimize", "maximize"]
    measure: Callable[[PairData, Settings], dict[str, float]]
    space: Callable[[Settings, Scale | None], Space]
    trial: Result


def measure_ratings(data: PairData, settings: Settings) -> dict[str, float]:
    """Train a pair's models as the lineage does, and measure the personal bridge on the validation users.

    Args:
        data: the pair's split; its test ratings are not used.
        settings: of the training.

    Returns:
        ``mae`` and ``rmse`` in stars, predictions clipped to the scale.

    Raises:
        EvaluationError: the training diverged, and predictions are not finite.
        DeviceError: the environment asks for a GPU that is not there.
    """
    engine = choose_engine()
    task = Experiment(data, settings, engine=engine).task
    personal = train_bridges(task, settings, _unheard, engine).personal
    errors = validation_errors(task, lambda users: personal.embed(task, users))
    return {"mae": errors.mae, "rmse": errors.rmse}


def measure_lists(data: PairData, settings: Settings) -> dict[str, float]:
    """Train a pair's ranking models as the lineage does, and measure the bridge's lists for the validation users.

    Args:
        data: the pair's split; its test ratings are not used.
        settings: of the training.

    Returns:
        The measures of ``evaluation.rankings``, means over users.

    Raises:
        DeviceError: the environment asks for a GPU that is not there.
    """
    engine = choose_engine()
    source, target = (train_side(data, side, settings, _unheard, engine) for side in ("source", "target"))
    task = RankingTask.of(data, RankingSpace.of(source, data.source, data.blocks_of("source")), target)
    bridges = train_ranking_bridges(task, hidden_size=settings.meta_hidden_size, seed=settings.seed)
    users = np.unique(task.validation.users)
    return rank_by_vectors(task.target, bridges.personal.embed(task, users), users, task.validation).means()


def space_of_ratings(settings: Settings, source_scale: Scale | None) -> Space:
    """The settings that change a training's predicted ratings, around their given values.

    Not searched: what decides who is held out; the seed; and what the recipe does not read (``calibrated`` has its own
    step and batch sizes).

    Args:
        settings: what the search starts from; always inside the space.
        source_scale: for how much a source item has to be liked to be in a history; None: all events are.
    """
    size, epochs, hidden = settings.embedding_size, settings.epochs, settings.meta_hidden_size
    # A bridge of low rank needs embeddings of at least that size.
    low = max(min(4, size), min(settings.bridge_rank, size))
    forms = [form for form in get_args(BridgeFormName) if form != "low_rank" or settings.bridge_rank <= low]
    space: Space = {
        "embedding_size": IntDistribution(low, max(40, size), log=True),
        "bridge_form": CategoricalDistribution(forms),
        "attention": CategoricalDistribution(get_args(Attention)),
        **_histories(settings, source_scale),
        "meta_hidden_size": IntDistribution(min(8, hidden), max(128, hidden), log=True),
        "epochs": IntDistribution(min(5, epochs), max(40, epochs)),
    }
    if settings.recipe != "calibrated":
        rate = settings.learning_rate
        space["residual"] = CategoricalDistribution([False, True])
        space["learning_rate"] = FloatDistribution(min(1e-3, rate), max(0.1, rate), log=True)
        for name in ("source_batch_size", "target_batch_size", "meta_batch_size", "mapping_batch_size"):
            space[name] = _one_of(64, 128, 256, 512, 1024, given=getattr(settings, name))
    return space


def space_of_lists(settings: Settings, source_scale: Scale | None) -> Space:
    """The size of the factors, and what histories hold, which matters where the personal bridge is used.

    Not searched: ``meta_hidden_size``, which changes no list from 16 on. The weights and penalties of the factors are
    constants: on the demo, Epinions and Douban no other value was better by more than random starts differ.

    Args:
        settings: what the search starts from; always inside the space.
        source_scale: for how much a source item has to be liked to be in a history; None: all events are.
    """
    size = settings.ranking_size
    return {
        "ranking_size": IntDistribution(min(8, size), max(128, size), log=True),
        **_histories(settings, source_scale),
    }


def _histories(settings: Settings, source_scale: Scale | None) -> Space:
    lengths: Space = {"history_length": _one_of(5, 10, 20, 40, 80, given=settings.history_length)}
    if source_scale is None:
        return lengths
    quarter = (source_scale.high - source_scale.low) / 4
    ends = source_scale.low + quarter, source_scale.high - quarter
    return lengths | {"positive_above": _one_of(None, *ends, given=settings.positive_above)}


def _one_of(*choices: float | None, given: float | None) -> CategoricalDistribution:
    return CategoricalDistribution([*choices, *([] if given in choices else [given])])


def _unheard(epoch: int, metrics: dict[str, float]) -> None:
    """Report no epochs of a trial."""


OBJECTIVES: dict[Mode, Objective] = {
    "rating": Objective(
        what="predicted ratings",
        metric="rmse",
        direction="minimize",
        measure=measure_ratings,
        space=space_of_ratings,
        trial=RESULTS["rating_trial"],
    ),
    "ranking": Objective(
        what="ranked lists",
        metric="ndcg_at_10",
        direction="maximize",
        measure=measure_lists,
        space=space_of_lists,
        trial=RESULTS["ranking_trial"],
    ),
}
