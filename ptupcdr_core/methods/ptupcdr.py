"""PTUPCDR: a meta network writes every user a bridge of their own from their source history.

Zhu et al., "Personalized Transfer of User Preferences for Cross-domain Recommendation" (WSDM 2022); the equations are
in ``models.meta`` and ``training.gradient``. Deviation: a user without a positive source item gets EMCDR's common
bridge (at the epoch that validation users choose); the reference gives them an untrained one.
"""

from collections.abc import Iterator

from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method
from ptupcdr_core.models.bridges import PersonalBridge
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.training.bridging import published_meta_network
from ptupcdr_core.training.epochs import Epoch


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """Train the meta network and offer its bridges after every epoch."""
    task = experiment.task

    def fitted(bridge: PersonalBridge) -> FittedMethod:
        return FittedMethod("ptupcdr", task.target, lambda users: bridge.embed(task, users))

    fallback = experiment.published_emcdr.matrix
    for epoch in published_meta_network(task, experiment.settings, fallback, experiment.engine):
        yield epoch.map(fitted)


METHODS = (Method("ptupcdr", fit),)
