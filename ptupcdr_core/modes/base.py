"""What a mode is: one purpose of bridges, such as ranked lists, from its base models to what it serves."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Side
from ptupcdr_core.data.warm_split import Known, WarmSplit
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.modes.criterion import Criterion
from ptupcdr_core.modes.part import Part
from ptupcdr_core.settings import Mode as ModeName
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.training.epochs import OnEpoch


@dataclass(frozen=True)
class Trained:
    """The result of training bridges.

    Args:
        part: all that serves people with them.
        metrics: what was chosen and how good it is, by name.
        files: of the checkpoint.
        shown: small tables for people.
        chosen: names of the metrics that are settings chosen by the training itself.
    """

    part: Part
    metrics: dict[str, float]
    files: list[Path]
    shown: dict[str, pd.DataFrame] = field(default_factory=dict)
    chosen: Collection[str] = ()


@dataclass(frozen=True)
class Evaluation:
    """How good the methods of a mode are for the test users.

    Args:
        summary: a row a method: the labels, users, ratings, and the mode's ``columns``.
        details: tables with a row a method and user, or a method and slice, by name.
        metrics: the same numbers by name.
        shown: small tables for people.
    """

    summary: pd.DataFrame
    details: dict[str, pd.DataFrame]
    metrics: dict[str, float]
    shown: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class FineTuned:
    """Embeddings of R users after their first target ratings.

    Args:
        embeddings: (R, Y) float32 by number of known ratings.
        metrics: how far they were moved.
    """

    embeddings: dict[Known, Floats]
    metrics: dict[str, float]


class WarmStart(Protocol):
    """How a mode follows the first target ratings of people who come to the target domain."""

    def fine_tune(
        self, home: Home, data: PairData, settings: Settings, validation: WarmSplit, test: WarmSplit, bridged: Floats
    ) -> FineTuned:
        """Tune the test users' embeddings.

        Args:
            home: has the models.
            data: the split.
            settings: of the run.
            validation: the validation users, on whom the tuning is chosen.
            test: the R test users.
            bridged: (R, Y) float32 what the bridge gave them.
        """

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
        """Compare tuned embeddings (R, Y) of the test users with other starts.

        Returns:
            A row a method and number of known ratings; and a row a method, number and test user.
        """


class Mode(Protocol):
    """One purpose that bridges are trained for. Models are read from a home and saved there; data is a pair's split."""

    @property
    def name(self) -> ModeName:
        """Its name in tables and settings."""

    @property
    def needs_stars(self) -> bool:
        """Whether it reads the stars of both domains, and so cannot be used for events."""

    @property
    def criterion(self) -> Criterion:
        """How one model is found to be better than another."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What it measures: columns of ``cold_start_evaluation``, empty in the rows of other modes."""

    @property
    def warm_start(self) -> WarmStart | None:
        """How it uses first target ratings; None where it does not."""

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
        """Train one side's base model; returns its checkpoint's files, whose manifest has these further entries."""

    def train(self, home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch, fingerprint: str) -> Trained:
        """Train the bridges between the two base models and save them."""

    def bridge(self, home: Home, data: PairData) -> tuple[SourceSide, PersonalBridge]:
        """The personal bridge and what it reads."""

    def target_users(self, home: Home, data: PairData) -> Floats:
        """(U+1, Y) the target model's own users, where bridged embeddings should come to lie; zeros if unknown."""

    def evaluate(self, home: Home, data: PairData, settings: Settings, ids: NDArray[np.object_]) -> Evaluation:
        """Measure every method and baseline on the test users; ids (U+1,) are the users' by index."""

    def refit(self, home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch) -> Part:
        """Fit target model and bridges again to a split that holds nobody out, and give what serves with them.

        What was chosen on held-out users stays as it is. Nothing is saved.
        """
