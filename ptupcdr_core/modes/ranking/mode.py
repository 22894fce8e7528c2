"""Ranked lists as a mode."""

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.engines.device import training_device
from ptupcdr_core.modes.part import Part
from ptupcdr_core.modes.ranking.bridging import RankingBridges, RankingTask, ranked_items, refit_ranking_bridges
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_space, load_target
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.training.epochs import OnEpoch
from ptupcdr_core.training.implicit import ImplicitFactors, train_side


def serve(home: Home, data: PairData) -> Part:
    """What serves a pair's people, from the home's models.

    Raises:
        ArtifactError: a model is missing, or belongs to another split.
    """
    return _part(load_space(home, data), load_target(home, data), load_ranking_bridges(home, data))


def refit(home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch) -> Part:
    """The same with target model and bridges fitted again to a split without held-out users; nothing is chosen again.

    Raises:
        ArtifactError: a model is missing, or belongs to another split.
    """
    space, target = load_space(home, data), train_side(data, "target", settings, on_epoch, training_device())
    chosen = load_ranking_bridges(home, data).chosen
    task = RankingTask.of(data, space, target)
    bridges = refit_ranking_bridges(task, chosen, hidden_size=settings.meta_hidden_size, seed=settings.seed)
    return _part(space, target, bridges)


def _part(space: RankingSpace, target: ImplicitFactors, bridges: RankingBridges) -> Part:
    return Part(space, bridges.personal, ranked_items(target), mean=bridges.mean[0], scale=None)
