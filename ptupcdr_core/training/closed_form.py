"""The calibrated bridges in closed form: a common bridge, and the personal one's start.

Shapes: R bridge-training users, D embedding size, X by Y the bridge, K gate features, H hidden units.

The personal bridge is the common one plus a matrix that is linear in the user's mean history vector, fitted as a ridge
regression to the residuals of the common bridge. That start is written into the unchanged meta network of the paper:
uniform attention, and pairs of hidden units max(z, 0) and max(-z, 0), whose difference is z. Gradient steps continue
from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge, SourceSide
from ptupcdr_core.models.forms import BridgeForm
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.training.evidence import earns_its_place
from ptupcdr_core.training.leading import Leading, beyond
from ptupcdr_core.training.ridge import (
    RidgeChoice,
    RidgeFit,
    UserMoments,
    fit_regression,
    fit_ridge,
    user_moments,
)
from ptupcdr_core.training.task import BridgeTask

COMMON_PENALTIES = tuple(10 ** (k / 2) for k in range(4, 13))
"""Ridge penalties that are tried for the common bridge, 10² to 10⁶: coordinates have unit size, so the prior expects
an entry of the bridge within about ± 1 / √penalty."""
EFFECTS_PENALTIES = (10.0, 100.0, 1_000.0, 10_000.0)
"""Penalties of the effects: there are some twenty effects, and thousands of rows."""
PERSONAL_PENALTIES = tuple(10 ** (k / 2) for k in range(7, 12))
"""The same for the personal bridge, 3,000 to 300,000."""
MAPPING_PENALTIES = tuple(10 ** (k / 2) for k in range(9))
"""EMCDR's, 1 to 10⁴: a row is a whole user here, and there are fewer users than ratings."""
GATES = (1, 2, 3, 4)
"""How many of the strongest directions of the histories may steer the bridge; people differ in few ways that matter
here."""
COMMON_EARNED, PERSONAL_EARNED = 1.0, 2.0
"""Standard errors over held-out users by which the common bridge must be better than the baseline it contains, and the
personal bridge better than the common one, to be used at all."""
MOST_UNKNOWNS = 2_500
"""Most entries of a fitted bridge; the ridge's matrix has the square of this. Larger bridges are confined to leading
directions."""


@dataclass(frozen=True)
class Gate:
    """Standardized features of a mean history vector p: z = (p - center) directions.

    Args:
        center: (D,).
        directions: (D, K), each scaled so that its feature has unit variance over bridge users.
    """

    center: Floats
    directions: Floats

    def leading(self, count: int) -> "Gate":
        """Only the first, strongest features."""
        return Gate(self.center, self.directions[:, :count])


@dataclass(frozen=True)
class CommonFit:
    """How a common bridge was chosen.

    Args:
        bilinear: the fit as any bilinear form.
        effects: the fit by effects of people and items; None where there are none.
    """

    bilinear: RidgeFit
    effects: RidgeFit | None

    @property
    def chosen(self) -> dict[str, float]:
        """All that a refit has to know."""
        return {
            "common_penalty": self.bilinear.penalty,
            "common_scale": self.bilinear.scale,
            "common_effects_penalty": float("inf") if self.effects is None else self.effects.penalty,
        }


def fit_common_bridge(
    task: BridgeTask, moments: UserMoments, *, seed: int, fixed: Mapping[str, float] | None = None
) -> tuple[CommonBridge, CommonFit]:
    """The best common bridge for the rows: the prior plus a correction from two ridge regressions on its residuals.

    One is free, and is used only if held-out users show its gain. The other uses effects alone, some twenty numbers, or
    none where that predicts held-out users best. If both are used, the correction is their mean, as their noise
    differs.

    Args:
        task: the pair's frozen vectors and rows.
        moments: of the rows.
        seed: assigns the users to the ridges' folds.
        fixed: what ``chosen`` said of an earlier fit, to be kept.
    """
    vectors = task.source_vectors[moments.users]
    rest, size = moments.beyond(vectors @ task.prior), vectors.shape[1]

    def fit(penalties: Sequence[float], scales: Sequence[Floats], name: str, scale: int) -> RidgeFit:
        kept = None if fixed is None else RidgeChoice(fixed[name], size, scale)
        return fit_ridge(vectors, rest, penalties, seed=seed, scales=scales, fixed=kept)

    scale = 0 if fixed is None else int(fixed["common_scale"])
    bilinear = earned(fit(COMMON_PENALTIES, task.expected, "common_penalty", scale), COMMON_EARNED)
    effects = None
    if task.effects is not None:
        effects = fit(EFFECTS_PENALTIES, [task.effects], "common_effects_penalty", 0)
    said = [found.matrix for found in (bilinear, effects) if found is not None and np.isfinite(found.penalty)]
    correction = np.mean(said, axis=0) if said else np.zeros_like(bilinear.matrix)
    return CommonBridge(np.asarray(task.prior + correction, np.float32)), CommonFit(bilinear, effects)


def earned(fit: RidgeFit, standard_errors: float) -> RidgeFit:
    """The fit, or a fit of zero where held-out users do not show its gain by so many standard errors."""
    if fit.gains is None or earns_its_place(fit.gains, 0 * fit.gains, standard_errors=standard_errors).earned:
        return fit
    return replace(fit, matrix=np.zeros_like(fit.matrix), penalty=float("inf"), features=0)


def fit_mapping(
    task: BridgeTask, *, seed: int, fixed: Mapping[str, float] | None = None
) -> tuple[CommonBridge, RidgeFit]:
    """EMCDR's mapping as a ridge regression: Σ |u^s W - u^t|² over bridge users, around the prior.

    Args:
        task: the pair's frozen vectors.
        seed: assigns the users to the folds.
        fixed: what ``chosen`` said of an earlier fit, to be kept.
    """
    vectors = task.source_vectors[task.bridge_users]
    wanted = task.target_user_vectors[task.bridge_users]
    kept = None if fixed is None else fixed["emcdr_penalty"]
    # In coordinates that the target model's users do not have, the prior concerns items alone, and is kept.
    rest = (wanted - vectors @ task.prior) * wanted.any(axis=0)
    fit = fit_regression(vectors, rest, MAPPING_PENALTIES, seed=seed, fixed=kept)
    return CommonBridge(task.prior + fit.matrix), fit


def start_personal_bridge(
    task: BridgeTask,
    moments: UserMoments,
    common: CommonBridge,
    network: MetaNetwork,
    *,
    seed: int,
    fixed: Mapping[str, float] | None = None,
) -> tuple[PersonalBridge, RidgeFit]:
    """A personal bridge around the common one, its meta network started in closed form.

    Diagonal bridges are fitted directly; those of low rank are the nearest to fitted full ones. Between large
    embeddings, all bridges correct along leading directions only.

    Args:
        task: the pair's frozen vectors and rows.
        moments: of the rows; the fit is to their users.
        common: what everybody's correction is added to.
        network: of the wanted sizes and form; changed in place.
        seed: assigns the users to the ridge's folds.
        fixed: what ``chosen`` said of an earlier fit, to be kept.
    """
    along = Leading.of(task, MOST_UNKNOWNS // max(GATES))
    if along.whole:
        rest = moments.beyond(task.source_vectors[moments.users] @ common.matrix)
    else:
        rest = user_moments(along.rows(beyond(task, common.matrix)))
    vectors = task.source_vectors[moments.users] @ along.source
    told = task.has_history(moments.users)
    most = min(network.decoder_hidden.out_features // 2, max(GATES))
    gate = gate_of(mean_histories(task, moments.users[told]), most)
    z = (mean_histories(task, moments.users) - gate.center) @ gate.directions * told[:, None]
    features = (z[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1)
    leading = [count * vectors.shape[1] for count in GATES if count <= z.shape[1]]
    shape = vectors.shape[1], along.target.shape[1]
    scales = [np.tile(np.eye(*shape, dtype=np.float32), (z.shape[1], 1))]
    kept = None
    if fixed is not None:
        kept = RidgeChoice(fixed["personal_penalty"], int(fixed["personal_features"]))
    ridge = fit_ridge(
        features,
        rest,
        PERSONAL_PENALTIES,
        seed=seed,
        leading=leading,
        scales=scales if network.form.name == "diagonal" else (),
        fixed=kept,
    )
    fit = earned(ridge, PERSONAL_EARNED)
    write_network(network, gate, along.lift(fit.matrix.reshape(-1, *shape)))
    return PersonalBridge(network, common.matrix, 1.0, common.matrix), fit


def mean_histories(task: SourceSide, users: Index) -> Floats:
    """(R, D) float32 mean vector of each user's history; zeros without one."""
    items = task.histories[users]
    total = np.zeros((len(users), task.history_vectors.shape[1]), np.float32)
    for position in range(items.shape[1]):  # one position at a time: (R, L, D) at once would not fit for many users
        total += task.history_vectors[items[:, position]] * (items[:, position, None] > 0)
    return np.asarray(total / np.maximum((items > 0).sum(1, keepdims=True), 1), dtype=np.float32)


def gate_of(means: Floats, most: int) -> Gate:
    """The strongest directions of (R, D) mean histories, at most so many and at least one."""
    size = means.shape[1]
    if len(means) <= size:
        return Gate(np.zeros(size, np.float32), np.zeros((size, 1), np.float32))
    count = max(1, min(size, most))
    center = means.mean(0)
    variances, axes = np.linalg.eigh(np.cov(means.T.astype(np.float64)).reshape(size, size))
    strongest = axes[:, ::-1][:, :count] / np.sqrt(np.maximum(variances[::-1][:count], 1e-6))
    return Gate(center, strongest.astype(np.float32))


def write_network(network: MetaNetwork, gate: Gate, matrices: Floats) -> None:
    """Set the weights so that the output is Σ_k z_k matrices_k, with matrices (K, X, Y), or the nearest in its form."""
    count = len(matrices)
    steered, fixed = (torch.from_numpy(part) for part in _outputs(network.form, matrices))
    towards, out = torch.from_numpy(gate.directions.T), steered.T
    offset: Tensor = -towards @ torch.from_numpy(gate.center)
    with torch.no_grad():
        network.attention_out.weight.zero_()
        network.decoder_hidden.weight[: 2 * count] = torch.cat([towards, -towards])
        network.decoder_hidden.bias[: 2 * count] = torch.cat([offset, -offset])
        network.decoder_out.weight.zero_()
        network.decoder_out.weight[:, : 2 * count] = torch.cat([out, -out], 1)
        network.decoder_out.bias[:] = fixed


def _outputs(form: BridgeForm, matrices: Floats) -> tuple[Floats, Floats]:
    """(K, O) and (O,): the outputs that encode the matrices (K, X, Y), and those that all of them share.

    In the low-rank form, B is shared: the r target directions in which the matrices together are largest.
    """
    count, fixed = len(matrices), np.zeros(form.outputs, np.float32)
    if form.name == "full":
        return matrices.reshape(count, -1), fixed
    if form.name == "diagonal":
        return np.diagonal(matrices, axis1=1, axis2=2).copy(), fixed
    target = np.linalg.svd(matrices.reshape(-1, form.target_size), full_matrices=False)[2][: form.rank]
    steered, ends = np.zeros((count, form.outputs), np.float32), form.source_size * form.rank
    steered[:, :ends] = (matrices @ target.T).reshape(count, -1)
    fixed[ends:] = target.reshape(-1)
    return steered, fixed
