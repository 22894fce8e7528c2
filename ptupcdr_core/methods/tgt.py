"""TGT: the target domain's base model alone.

Zhu et al. (WSDM 2022), baseline "TGT". A cold-start user's embedding stays as it was drawn, N(0, 1): the scores are
random dot products, which is what makes this baseline a straw man.
"""

from collections.abc import Iterator

import numpy as np

from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.training.epochs import Epoch


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """Train the target model and offer it after every epoch."""
    for epoch in experiment.target_epochs():
        yield epoch.map(_fitted)


def _fitted(model: BaseModel) -> FittedMethod:
    items, users = model.item_vectors(), model.user_vectors()
    return FittedMethod("tgt", TargetItems(items, np.zeros(len(items), np.float32)), lambda wanted: users[wanted])


METHODS = (Method("tgt", fit, Needs.BASE_MODEL),)
