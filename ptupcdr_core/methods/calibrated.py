"""The calibrated recipe's methods: TGT, the common bridges and PTUPCDR on centered ratings.

See ``training.calibrated_model`` and ``training.closed_form``. TGT is the mean and the damped item bias for a
cold-start user, whose factors and offset are zero. These methods choose on validation users themselves, so each is
offered only once.
"""

from collections.abc import Iterator
from functools import partial

from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.training.epochs import Epoch
from ptupcdr_core.training.task import BridgeTask


def target_alone(task: BridgeTask) -> FittedMethod:
    """TGT: the target model's own user vectors."""
    return FittedMethod("tgt", task.target, lambda users: task.target_user_vectors[users])


def _fit_tgt(experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    yield Epoch(0, target_alone(experiment.task), {})


def _fit_bridge(name: str, experiment: Experiment) -> Iterator[Epoch[FittedMethod]]:
    bridges = experiment.calibrated_bridges.methods(experiment.task)
    yield from (Epoch(0, method, {}) for method in bridges if method.name == name)


METHODS = (
    Method("tgt", _fit_tgt, Needs.BRIDGE, ("calibrated",)),
    *(
        Method(name, partial(_fit_bridge, name), Needs.BRIDGE, ("calibrated",))
        for name in ("emcdr", "common_bridge", "ptupcdr")
    ),
)
