"""Ranked lists as a mode."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Side
from ptupcdr_core.engines.choice import choose_engine
from ptupcdr_core.evaluation.significance import pair_lists
from ptupcdr_core.kernels.memory import give_back
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.modes.base import Evaluation, Trained
from ptupcdr_core.modes.criterion import Criterion
from ptupcdr_core.modes.part import Part
from ptupcdr_core.modes.ranking.bridging import (
    RankingBridges,
    RankingTask,
    refit_ranking_bridges,
    train_ranking_bridges,
    without_personal,
)
from ptupcdr_core.modes.ranking.checkpoints import (
    load_parts,
    load_ranking_bridges,
    load_sides,
    save_bridges,
    save_parts,
    save_side,
)
from ptupcdr_core.modes.ranking.cold_start import RANKING_COLUMNS, evaluate_rankings
from ptupcdr_core.modes.ranking.joint import JointChoice, choose_joint, train_joint
from ptupcdr_core.modes.ranking.judges import Group, further_splits
from ptupcdr_core.modes.ranking.parts import Parts, refit_parts, train_parts
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.training.epochs import Curves, OnEpoch
from ptupcdr_core.training.implicit import train_side


class Ranking:
    """Ranked lists, better with a higher NDCG@10; see ``modes.base.Mode``."""

    name: Mode = "ranking"
    needs_stars = False
    columns = RANKING_COLUMNS
    warm_start = None
    criterion = Criterion(
        what="ranked lists",
        metric="ndcg_at_10",
        label="NDCG@10",
        more_is_better=True,
        # Two trainings that differ in their random start alone are up to 5 % apart on Epinions 3→4; what the bridge
        # gains over popularity on real pairs is 9 to 39 %.
        tolerance=0.05,
        baselines=("popularity",),
        table="cold_start_rankings",
        columns=("ndcg_at_10",),
        measure=lambda model, ratings: model.rankings(ratings),
        pair=pair_lists,
    )

    def train_side(
        self,
        home: Home,
        data: PairData,
        side: Side,
        settings: Settings,
        on_epoch: OnEpoch,
        fingerprint: str,
        entries: Mapping[str, Any] | None = None,
    ) -> list[Path]:
        """Factorize who took what on one side."""
        curves = Curves(on_epoch)
        factors = train_side(data, side, settings, curves, choose_engine())
        return save_side(home, side, data, factors, settings, fingerprint, curves, entries or {})

    def train(self, home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch, fingerprint: str) -> Trained:
        """Fit the bridges, each with the penalty that ranks best for validation users."""
        joint, choice = choose_joint(data, seed=settings.seed)  # before the tables of vectors are in memory
        give_back()
        task, space, checksums = _task(home, data)
        bridges = train_ranking_bridges(task, hidden_size=settings.meta_hidden_size, seed=settings.seed)
        groups = [Group.of(data, task, bridges.personal, joint)]
        groups += [_judged(further, task, bridges, choice, settings) for further in further_splits(data, settings.seed)]
        target = task.target
        del task  # the tables of everybody's vectors
        give_back()  # choosing the parts takes more memory than anything else
        parts = train_parts(groups).with_choices(choice.told())
        if bridges.personal.strength and not parts.chosen["list_personal"]:
            bridges = without_personal(bridges, seed=settings.seed)
        files = save_bridges(home, data, bridges, checksums, settings, fingerprint)
        files += save_parts(home, data, parts, joint, checksums, settings, fingerprint)
        chosen = bridges.chosen | parts.chosen
        return Trained(_part(space, target, bridges, parts), chosen, files, chosen=set(chosen))

    def bridge(self, home: Home, data: PairData) -> tuple[SourceSide, PersonalBridge]:
        """The personal bridge and what it reads."""
        task, _, checksums = _task(home, data)
        return task, load_ranking_bridges(home, data, checksums).personal

    def target_users(self, home: Home, data: PairData) -> Floats:
        """(U+1, Y) the target's own user factors."""
        return load_sides(home, data).target.user_embedding

    def evaluate(self, home: Home, data: PairData, settings: Settings, ids: NDArray[np.object_]) -> Evaluation:
        """How well every method's lists find what the test users took."""
        task, _, checksums = _task(home, data)
        bridges = load_ranking_bridges(home, data, checksums)
        parts, joint = load_parts(home, data, checksums)
        summary, by_user = evaluate_rankings(data, task, bridges, parts, joint, settings, ids)
        best_first = summary.sort_values("ndcg_at_10", ascending=False)
        return Evaluation(
            summary,
            {"cold_start_rankings": by_user},
            {f"ndcg_at_10_{row.method}": float(row.ndcg_at_10) for row in summary.itertuples()},
            {"rankings": best_first[["method", "users", *self.columns]].round(4)},
        )

    def refit(self, home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch) -> Part:
        """Fit target factors and bridges again to a split that holds nobody out."""
        sides = load_sides(home, data)
        chosen = load_ranking_bridges(home, data, sides.checksums).chosen
        chosen_parts = load_parts(home, data, sides.checksums)[0].chosen
        target = train_side(data, "target", settings, on_epoch, choose_engine())
        task = RankingTask.of(data, sides.source, target)
        bridges = refit_ranking_bridges(task, chosen, hidden_size=settings.meta_hidden_size, seed=settings.seed)
        return _part(sides.source, task.target, bridges, refit_parts(data, chosen_parts, seed=settings.seed))


def _part(space: RankingSpace, target: TargetItems, bridges: RankingBridges, parts: Parts) -> Part:
    return Part(space, bridges.personal, parts.target(target), mean=bridges.mean[0], scale=None, lists=parts)


def _judged(
    data: PairData,
    served: RankingTask,
    bridges: RankingBridges,
    choice: JointChoice,
    settings: Settings,
) -> Group:
    """A further group, with models trained without its target ratings by what was chosen for the pair."""
    target = train_side(data, "target", settings, lambda *_: None, choose_engine())
    task = served.holding_out(data, target)
    own = refit_ranking_bridges(task, bridges.chosen, hidden_size=settings.meta_hidden_size, seed=settings.seed)
    return Group.of(data, task, own.personal, train_joint(data, choice, seed=settings.seed))


def _task(home: Home, data: PairData) -> tuple[RankingTask, RankingSpace, tuple[str, str]]:
    """What bridges are trained on and read; the source's space without its users, whose vectors the task has; and the
    checksums of both sides."""
    sides = load_sides(home, data)
    return RankingTask.of(data, sides.source, sides.target), sides.source.without_users(), sides.checksums
