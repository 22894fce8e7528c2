"""CMF: one base model on the ratings of both domains together, users shared.

Singh and Gordon, "Relational Learning via Collective Matrix Factorization" (KDD 2008), with equal weights of the two
relations; in PTUPCDR's comparison the base model is trained on the union of source and target training ratings, with
one numbering of all items. A user without target ratings has the embedding that their source ratings gave.
"""

from collections.abc import Iterator

import numpy as np

from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.pretraining import base_model_epochs


def fit(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    """Train one model on both domains and offer its target side after every epoch."""
    data, settings = experiment.data, experiment.settings
    for epoch in base_model_epochs(
        union(data),
        data.user_count,
        data.source_item_count + data.target_item_count,
        settings,
        batch_size=settings.source_batch_size,
        generator=experiment.generator("cmf"),
        engine=experiment.engine,
    ):
        yield epoch.map(lambda model: _fitted(model, data.source_item_count))


def union(data: PairData) -> Ratings:
    """Source and target training ratings; target items are numbered after the source's."""
    source, target = data.source, data.target_train
    return Ratings(
        np.concatenate([source.users, target.users]),
        np.concatenate([source.items, target.items + np.int32(data.source_item_count)]),
        np.concatenate([source.stars, target.stars]),
    )


def _fitted(model: BaseModel, source_items: int) -> FittedMethod:
    items, users = model.item_vectors()[source_items:].copy(), model.user_vectors()
    items[0] = 0  # row 0 is the padding; the last source item was there
    return FittedMethod("cmf", TargetItems(items, np.zeros(len(items), np.float32)), lambda wanted: users[wanted])


METHODS = (Method("cmf", fit, Needs.BASE_MODEL),)
