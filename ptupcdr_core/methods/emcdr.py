"""EMCDR: one linear map from source user factors to target user factors.

Man et al., "Cross-Domain Recommendation: An Embedding and Mapping Approach" (IJCAI 2017): after the base models,
min Σ |u^s_i W - u^t_i|² over users of both domains; a cold-start user's embedding is u^s W. This is the linear
variant, which PTUPCDR's authors compare with.
"""

from collections.abc import Iterator

from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method
from ptupcdr_core.models.bridges import CommonBridge
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.training.bridging import published_mapping
from ptupcdr_core.training.epochs import Epoch


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """Train the map and offer it after every epoch."""
    task = experiment.task

    def fitted(bridge: CommonBridge) -> FittedMethod:
        return FittedMethod("emcdr", task.target, lambda users: bridge.embed(task, users))

    for epoch in published_mapping(task, experiment.settings, experiment.engine):
        yield epoch.map(fitted)


METHODS = (Method("emcdr", fit),)
