"""All bridges of a pair, as its recipe trains them, and their checkpoint."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, get_args

import numpy as np
import torch

from ptupcdr_core.arrays import Floats
from ptupcdr_core.engines.base import Engine
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.settings import Attention, BridgeFormName, Settings
from ptupcdr_core.store.artifacts import Tensors
from ptupcdr_core.training.closed_form import MOST_UNKNOWNS, fit_common_bridge, fit_mapping, start_personal_bridge
from ptupcdr_core.training.epochs import BestEpoch, Epoch, OnEpoch
from ptupcdr_core.training.gradient import mapping_epochs, meta_network_epochs
from ptupcdr_core.training.leading import Leading
from ptupcdr_core.training.ridge import user_moments
from ptupcdr_core.training.task import BridgeTask
from ptupcdr_core.training.validation import AnyBridge, choose, validation_errors

TUNING_RATE = 3e-4
"""Adam's step size from the calibrated start, which is near an optimum; larger ones left it on every pair tried."""
TUNING_BATCH = 512
TUNING_PATIENCE = 3
"""Epochs without a better one after which training stops."""
CHOSEN = (
    "emcdr_penalty",
    "common_penalty",
    "common_scale",
    "common_effects_penalty",
    "personal_penalty",
    "personal_features",
    "ptupcdr_epoch",
    "personal_strength",
)
"""What the calibrated training chooses, and a refit keeps."""
FORM, ATTENTION = "personal.form", "personal.attention"


@dataclass(frozen=True)
class Bridges:
    """What the stage ``meta_network`` trains.

    Args:
        emcdr: the common bridge, mapping-oriented.
        common: the common bridge, task-oriented: what the calibrated personal bridge starts from; None in the
            reference's recipes.
        personal: PTUPCDR.
        chosen: how the bridges were chosen: epochs, penalties, strength. All that ``refit_bridges`` has to know.
    """

    emcdr: CommonBridge
    common: CommonBridge | None
    personal: PersonalBridge
    chosen: dict[str, float]

    def methods(self, task: BridgeTask) -> list[FittedMethod]:
        """The bridges as methods that can score."""
        bridges = {"emcdr": self.emcdr, "common_bridge": self.common, "ptupcdr": self.personal}
        return [
            FittedMethod(name, task.target, lambda users, bridge=bridge: bridge.embed(task, users))  # type: ignore[misc]
            for name, bridge in bridges.items()
            if bridge is not None
        ]

    def tensors(self) -> Tensors:
        """Return all weights by name, as a checkpoint stores them, and the network's form and attention as text."""
        common = {} if self.common is None else {"common": self.common.matrix}
        return {
            "emcdr": self.emcdr.matrix,
            "personal.common": self.personal.common,
            "personal.fallback": self.personal.fallback,
            "personal.strength": np.array([self.personal.strength], np.float32),
            **common,
            **network_tensors(self.personal.network),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any], chosen: dict[str, float]) -> Self:
        """Make the bridges that ``tensors()`` described.

        Raises:
            ArtifactError: the network's form or attention is unknown, or its weights are not of that form.
        """
        common = tensors["personal.common"]
        network = network_from_tensors(tensors, common.shape)
        personal = PersonalBridge(network, common, float(tensors["personal.strength"][0]), tensors["personal.fallback"])
        shared = CommonBridge(tensors["common"]) if "common" in tensors else None
        return cls(CommonBridge(tensors["emcdr"]), shared, personal, chosen)


def network_tensors(network: MetaNetwork) -> Tensors:
    """A meta network's weights by name, and its form and attention as text."""
    return {
        FORM: np.frombuffer(network.form.name.encode(), np.uint8),
        ATTENTION: np.frombuffer(network.attention_kind.encode(), np.uint8),
        **{f"network.{name}": weight.numpy() for name, weight in network.state_dict().items()},
    }


def network_from_tensors(tensors: Mapping[str, Any], shape: tuple[int, int]) -> MetaNetwork:
    """Make the network that ``network_tensors`` described.

    Args:
        tensors: may hold others too.
        shape: X and Y of its bridges.

    Raises:
        ArtifactError: its form or attention is unknown, or its weights are not of that form.
    """
    weights = {
        name.removeprefix("network."): torch.from_numpy(tensor)
        for name, tensor in tensors.items()
        if name.startswith("network.")
    }
    form: BridgeFormName = _one_of(tensors, FORM, get_args(BridgeFormName))
    attention: Attention = _one_of(tensors, ATTENTION, get_args(Attention))
    hidden, size = weights["decoder_hidden.weight"].shape
    rank = len(weights["decoder_out.bias"]) // sum(shape)
    try:
        network = MetaNetwork(size, hidden, *shape, form=form, rank=rank, attention=attention)
        network.load_state_dict(weights)
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"meta network: the weights are not those of {form} bridges {shape[0]} by {shape[1]} with attention to "
            f"{attention} ({error}); materialize meta_network again"
        ) from error
    return network


def _one_of(tensors: Mapping[str, Any], name: str, known: tuple[Any, ...]) -> Any:
    """A text stored among the tensors, which must be a known one."""
    told = bytes(tensors.get(name, b"")).decode(errors="replace")
    if told not in known:
        raise ArtifactError(
            f"meta network: {name} is {told!r}, not one of {', '.join(known)}; materialize meta_network again"
        )
    return told


def train_bridges(task: BridgeTask, settings: Settings, on_epoch: OnEpoch, engine: Engine = COMPILED) -> Bridges:
    """Train the bridges of one pair as the settings say.

    Args:
        task: the pair's frozen vectors and training rows.
        settings: decide how.
        on_epoch: called with every epoch's metrics, whose names start with the method's.
        engine: makes the gradient steps.
    """
    train = _train_calibrated if settings.recipe == "calibrated" else _train_published
    with one_thread():
        return train(task, settings, on_epoch, engine)


def refit_bridges(
    task: BridgeTask,
    settings: Settings,
    chosen: Mapping[str, float],
    on_epoch: OnEpoch,
    engine: Engine = COMPILED,
) -> Bridges:
    """Train the calibrated bridges once more with nothing left to choose: no validation user is looked at.

    Args:
        task: the pair's frozen vectors and training rows, of more users than before.
        settings: those of the first training.
        chosen: what was chosen then.
        on_epoch: called with every epoch's training loss.
        engine: as for ``train_bridges``.

    Raises:
        ArtifactError: the checkpoint lacks some of what was chosen: it is of another recipe, or an older one.
    """
    missing = [name for name in CHOSEN if name not in chosen]
    if missing:
        raise ArtifactError(
            f"meta network: the checkpoint does not say {', '.join(missing)}, so it cannot be fitted again; "
            "materialize meta_network again, in the recipe calibrated"
        )
    with one_thread():
        return _train_calibrated(task, settings, on_epoch, engine, chosen)


def _train_published(task: BridgeTask, settings: Settings, on_epoch: OnEpoch, engine: Engine) -> Bridges:
    def best(name: str, epochs: Iterator[Epoch[AnyBridge]]) -> BestEpoch[AnyBridge]:
        return choose(epochs, task, _prefixed(on_epoch, name))

    emcdr = best("emcdr", published_mapping(task, settings, engine))
    personal = best("ptupcdr", published_meta_network(task, settings, emcdr.candidate.matrix, engine))
    chosen = {"emcdr_epoch": float(emcdr.number), "ptupcdr_epoch": float(personal.number)}
    return Bridges(emcdr.candidate, None, personal.candidate, chosen)


def published_mapping(task: BridgeTask, settings: Settings, engine: Engine = COMPILED) -> Iterator[Epoch[CommonBridge]]:
    """EMCDR's mapping with the reference's numbers; engine as for ``train_bridges``."""
    return mapping_epochs(
        task,
        epochs=settings.epochs,
        batch_size=settings.mapping_batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        rng=_generator(settings, "emcdr"),
        engine=engine,
    )


def published_meta_network(
    task: BridgeTask, settings: Settings, fallback: Floats, engine: Engine = COMPILED
) -> Iterator[Epoch[PersonalBridge]]:
    """PTUPCDR's meta network with the reference's numbers.

    Args:
        task: the pair's frozen vectors and training rows.
        settings: epochs, batch size, learning rate, hidden size, seed and the settings of bridges are used.
        fallback: (X, Y) the bridge of users without a history, to whom the reference gives an untrained one; with
            ``residual``, corrections are added to it as well.
        engine: as for ``train_bridges``.
    """
    common = fallback if settings.residual else task.prior
    return meta_network_epochs(
        task,
        PersonalBridge(start_network(task, settings, at_zero=settings.residual), common, 1.0, fallback),
        epochs=settings.epochs,
        batch_size=settings.meta_batch_size,
        learning_rate=settings.learning_rate,
        rng=_generator(settings, "ptupcdr"),
        engine=engine,
    )


def start_network(task: BridgeTask, settings: Settings, *, at_zero: bool = False) -> MetaNetwork:
    """The settings' meta network for a pair, before training; ``at_zero`` as for ``MetaNetwork.start``."""
    network = MetaNetwork(
        task.history_vectors.shape[1],
        settings.meta_hidden_size,
        *task.prior.shape,
        form=settings.bridge_form,
        rank=settings.bridge_rank,
        attention=settings.attention,
    )
    return network.start(settings.seed, at_zero=at_zero)


def _train_calibrated(
    task: BridgeTask,
    settings: Settings,
    on_epoch: OnEpoch,
    engine: Engine,
    fixed: Mapping[str, float] | None = None,
) -> Bridges:
    along = Leading.of(task, MOST_UNKNOWNS)
    confined = along.confine(task)
    moments = user_moments(confined.rows)
    emcdr, emcdr_fit = fit_mapping(task, seed=settings.seed, fixed=fixed)
    confined_common, common_fit = fit_common_bridge(confined, moments, seed=settings.seed, fixed=fixed)
    common = CommonBridge(along.lift(confined_common.matrix))
    personal, personal_fit = start_personal_bridge(
        task, moments, common, start_network(task, settings), seed=settings.seed, fixed=fixed
    )
    epoch, strength = 0, 0.0
    if np.isfinite(personal_fit.penalty):
        epochs = meta_network_epochs(
            task,
            personal,
            epochs=settings.epochs if fixed is None else int(fixed["ptupcdr_epoch"]),
            batch_size=TUNING_BATCH,
            learning_rate=TUNING_RATE,
            penalty=personal_fit.penalty,
            rng=_generator(settings, "ptupcdr"),
            start_counts=True,
            engine=engine,
        )
        tell = _prefixed(on_epoch, "ptupcdr")
        best = choose(epochs, task, tell, patience=TUNING_PATIENCE) if fixed is None else _last(epochs, tell)
        personal, epoch = best.candidate, best.number
        strength = _strength(task, personal) if fixed is None else fixed["personal_strength"]
    chosen = {
        "emcdr_penalty": emcdr_fit.penalty,
        **common_fit.chosen,
        "personal_penalty": personal_fit.penalty,
        "personal_features": personal_fit.features,
        "ptupcdr_epoch": epoch,
        "personal_strength": strength,
    }
    return Bridges(emcdr, common, replace(personal, strength=strength), chosen)


def _last(epochs: Iterator[Epoch[PersonalBridge]], on_epoch: OnEpoch) -> Epoch[PersonalBridge]:
    """The last of the epochs; there is at least one."""
    for epoch in epochs:
        on_epoch(epoch.number, epoch.metrics)
    return epoch


def _strength(task: BridgeTask, personal: PersonalBridge) -> float:
    """The strength of the personal part that is best for validation users: 0, 0.5 or 1."""

    def rmse(strength: float) -> float:
        bridge = replace(personal, strength=strength)
        return validation_errors(task, lambda users: bridge.embed(task, users)).rmse

    return min((1.0, 0.5, 0.0), key=rmse)


def _generator(settings: Settings, name: str) -> np.random.Generator:
    return np.random.default_rng([settings.seed, *name.encode()])


def _prefixed(on_epoch: OnEpoch, name: str) -> OnEpoch:
    return lambda epoch, metrics: on_epoch(epoch, {f"{name}_{metric}": value for metric, value in metrics.items()})
