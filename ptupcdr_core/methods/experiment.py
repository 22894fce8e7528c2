"""One pair's split and settings; models that methods share are trained once, when they are first needed."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.engines.base import Engine
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.bridges import CommonBridge
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.bridging import Bridges, published_mapping, train_bridges
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.pretraining import base_model_epochs, train_side
from ptupcdr_core.training.task import BridgeTask, Model, bridge_task
from ptupcdr_core.training.validation import choose


class Experiment:
    """What a method is fitted on.

    Args:
        data: the pair's split.
        settings: how everything is trained.
        source_model: trained before; it depends neither on β nor on the method. None: trained here when needed.
        engine: trains base models, mapping and meta network.
    """

    def __init__(
        self,
        data: PairData,
        settings: Settings,
        source_model: Model | None = None,
        engine: Engine = COMPILED,
    ) -> None:
        """Train nothing yet."""
        self.data, self.settings, self.engine = data, settings, engine
        self._source_model = source_model

    @cached_property
    def source_model(self) -> Model:
        """The base model of all source ratings."""
        return self._source_model or train_side(self.data, "source", self.settings, _ignore, self.engine)

    @property
    def trained_source_model(self) -> Model | None:
        """The source model, if it was given or has been trained."""
        return self.__dict__.get("source_model", self._source_model)

    @cached_property
    def target_model(self) -> Model:
        """The base model of the target's training ratings, after its last epoch."""
        return train_side(self.data, "target", self.settings, _ignore, self.engine)

    def target_epochs(self) -> Iterator[Epoch[BaseModel]]:
        """The same training epoch by epoch (published); its last model becomes ``target_model``."""
        data, settings = self.data, self.settings
        for epoch in base_model_epochs(
            data.target_train,
            data.user_count,
            data.target_item_count,
            settings,
            batch_size=settings.target_batch_size,
            generator=np.random.default_rng([settings.seed, 1]),
            engine=self.engine,
        ):
            yield epoch
        self.target_model = epoch.candidate

    @cached_property
    def task(self) -> BridgeTask:
        """What bridges are trained on."""
        return bridge_task(self.data, self.source_model, self.target_model)

    @cached_property
    def published_emcdr(self) -> CommonBridge:
        """EMCDR's mapping at the epoch that validation users choose: the fallback for users without a history."""
        epochs = published_mapping(self.task, self.settings, self.engine)
        return choose(epochs, self.task, _ignore).candidate

    @cached_property
    def calibrated_bridges(self) -> Bridges:
        """All calibrated bridges, each of which builds on the one before."""
        return train_bridges(self.task, self.settings, _ignore, self.engine)

    def generator(self, name: str) -> np.random.Generator:
        """A generator of the seed's random numbers for one use, independent of others."""
        return np.random.default_rng([self.settings.seed, *name.encode()])


def _ignore(_epoch: int, _metrics: dict[str, float]) -> None:
    """Report no progress of shared trainings."""
