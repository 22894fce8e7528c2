"""Bridges, and the personal bridge's start in closed form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_pair import USERS, calibrated_task, small_pair

from ptupcdr_core.arrays import Index
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.models import bridges
from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge, personal_part
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.settings import Settings
from ptupcdr_core.training import bridging, closed_form
from ptupcdr_core.training.bridging import CHOSEN, refit_bridges, train_bridges
from ptupcdr_core.training.closed_form import fit_common_bridge, mean_histories, start_personal_bridge
from ptupcdr_core.training.ridge import user_moments
from ptupcdr_core.training.task import BridgeTask

EVERYBODY = np.arange(1, USERS + 1, dtype=np.int32)


@pytest.fixture(scope="module")
def task() -> BridgeTask:
    return calibrated_task(small_pair())


@pytest.fixture
def personal(task: BridgeTask) -> PersonalBridge:
    """A bridge of random parts, all of them different."""
    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    common, fallback = (rng.normal(size=task.prior.shape).astype(np.float32) for _ in range(2))
    network = MetaNetwork(task.history_vectors.shape[1], 7, *task.prior.shape)
    return PersonalBridge(network, common, 0.5, fallback)


def told(task: BridgeTask) -> Index:
    return EVERYBODY[task.has_history(EVERYBODY)]


def test_a_common_bridge_is_one_matrix_for_everybody(task: BridgeTask) -> None:
    matrix = np.arange(task.prior.size, dtype=np.float32).reshape(task.prior.shape)
    users = np.array([7, 3, 7], np.int32)
    np.testing.assert_array_equal(CommonBridge(matrix).embed(task, users), task.source_vectors[users] @ matrix)


def test_a_personal_bridge_is_the_common_matrix_and_a_share_of_the_users_own(
    task: BridgeTask, personal: PersonalBridge
) -> None:
    embeddings = personal.embed(task, told(task))
    for row, user in enumerate(told(task)):
        items = task.histories[user][task.histories[user] > 0]
        history = torch.tensor(task.history_vectors[items])[None]
        own = personal.network(history, torch.ones(1, len(items), dtype=torch.bool))[0].detach().numpy()
        expected = task.source_vectors[user] @ (personal.common + 0.5 * own)
        np.testing.assert_allclose(embeddings[row], expected, rtol=1e-4, atol=1e-5)


def test_users_without_a_history_get_the_fallback_bridge_which_is_named(
    task: BridgeTask, personal: PersonalBridge
) -> None:
    untold = np.setdiff1d(EVERYBODY, told(task)).astype(np.int32)
    assert len(untold) >= 2
    np.testing.assert_allclose(
        personal.embed(task, EVERYBODY)[untold - 1], task.source_vectors[untold] @ personal.fallback, rtol=1e-5
    )
    names = personal.made_by(task, EVERYBODY)
    assert set(names[untold - 1]) == {"common_bridge"}
    assert set(names[told(task) - 1]) == {"bridge"}


def test_strength_zero_is_the_common_bridge(task: BridgeTask, personal: PersonalBridge) -> None:
    weak = replace(personal, strength=0.0)
    expected = CommonBridge(personal.common).embed(task, told(task))
    np.testing.assert_array_equal(weak.embed(task, told(task)), expected)
    assert not np.allclose(personal.embed(task, told(task)), expected)


def test_blocks_of_users_change_nothing(
    task: BridgeTask, personal: PersonalBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = personal.embed(task, EVERYBODY)
    monkeypatch.setattr(bridges, "BLOCK", 5)
    np.testing.assert_allclose(personal.embed(task, EVERYBODY), at_once, rtol=1e-5, atol=1e-6)


def test_nobody_can_be_bridged(task: BridgeTask, personal: PersonalBridge) -> None:
    assert personal.embed(task, EVERYBODY[:0]).shape == (0, task.prior.shape[1])


def test_mean_histories_leave_padding_out(task: BridgeTask) -> None:
    means = mean_histories(task, EVERYBODY)
    for user in EVERYBODY:
        items = task.histories[user][task.histories[user] > 0]
        expected = task.history_vectors[items].mean(0) if len(items) else np.zeros(task.history_vectors.shape[1])
        np.testing.assert_allclose(means[user - 1], expected, rtol=1e-5, atol=1e-6)


def start(task: BridgeTask, hidden_size: int = 50) -> PersonalBridge:
    moments = user_moments(task.rows)
    common, _ = fit_common_bridge(task, moments, seed=1)
    return start_personal_bridge(task, moments, common, network(task, hidden_size), seed=1)[0]


def network(task: BridgeTask, hidden_size: int = 50, **form: Any) -> MetaNetwork:
    return MetaNetwork(task.history_vectors.shape[1], hidden_size, *task.prior.shape, **form).start(1)


def planted_in_histories(task: BridgeTask) -> BridgeTask:
    """The task with ratings that follow a bridge which is linear in the user's mean history."""
    rng = np.random.default_rng(5)
    matrices = rng.normal(size=(task.history_vectors.shape[1], *task.prior.shape)).astype(np.float32)
    users, vectors = task.rows.users, task.rows.vectors[task.rows.pick]
    history = mean_histories(task, users)
    wanted = np.einsum("nk,nx,kxy,ny->n", history, task.source_vectors[users], matrices, vectors)
    return replace(task, rows=replace(task.rows, wanted=wanted.astype(np.float32)), prior=np.zeros_like(task.prior))


@pytest.mark.parametrize("hidden_size", [2, 5, 50])
def test_the_start_written_into_the_network_is_the_ridge_it_was_fitted_as(
    task: BridgeTask, hidden_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network computes u Σ_k z_k W_k, with z the mean history along its strongest directions, of unit variance."""
    monkeypatch.setattr(closed_form, "PERSONAL_PENALTIES", (100.0,))  # the usual ones are for thousands of rows
    planted = planted_in_histories(task)
    moments = user_moments(planted.rows)
    bridge, fit = start_personal_bridge(planted, moments, CommonBridge(task.prior), network(task, hidden_size), seed=1)
    directions = len(fit.matrix) // task.prior.shape[0]
    assert directions == min(task.history_vectors.shape[1], hidden_size // 2)
    assert fit.features > 0
    history = mean_histories(task, np.intersect1d(moments.users, told(task)))
    variances, axes = np.linalg.eigh(np.cov(history.T.astype(np.float64)))
    z = (mean_histories(task, told(task)) - history.mean(0)) @ (axes / np.sqrt(variances))[:, ::-1][:, :directions]
    matrices = np.einsum("uk,kxy->uxy", z, fit.matrix.reshape(directions, *task.prior.shape))
    expected = np.einsum("ux,uxy->uy", task.source_vectors[told(task)], matrices)
    np.testing.assert_allclose(
        personal_part(bridge.network, task, told(task)), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_the_start_attends_to_every_item_alike(task: BridgeTask) -> None:
    items = torch.from_numpy(task.histories[told(task)])
    attention = start(task).network.attention(torch.from_numpy(task.history_vectors)[items], items > 0)
    expected = (items > 0) / (items > 0).sum(1, keepdim=True)
    torch.testing.assert_close(attention.detach(), expected)


def test_a_start_without_histories_has_no_personal_part(task: BridgeTask) -> None:
    silent = replace(task, histories=np.zeros_like(task.histories))
    moments = user_moments(silent.rows)
    common, _ = fit_common_bridge(silent, moments, seed=1)
    bridge, fit = start_personal_bridge(silent, moments, common, network(task), seed=1)
    assert fit.features == 0
    np.testing.assert_array_equal(bridge.embed(silent, EVERYBODY), common.embed(silent, EVERYBODY))


def test_the_common_bridge_gets_no_worse_than_its_prior_on_its_own_rows(task: BridgeTask) -> None:
    common, fit = fit_common_bridge(task, user_moments(task.rows), seed=1)

    def error(matrix: np.ndarray) -> float:
        rows = task.rows
        predicted = ((task.source_vectors @ matrix)[rows.users] * rows.vectors[rows.pick]).sum(1)
        return float(np.square(rows.wanted - predicted).mean())

    assert fit.bilinear.errors[0, float("inf")] == pytest.approx(error(task.prior), rel=1e-4)
    assert error(common.matrix) < error(task.prior) < error(np.zeros_like(task.prior))


def test_the_effects_find_what_depends_on_people_and_items_alone(task: BridgeTask) -> None:
    """Planted: how well known an item is counts, and more for who rates widely; nothing else does."""
    size = task.history_vectors.shape[1]
    planted = np.zeros_like(task.prior)
    planted[size + 1, size + 6], planted[size + 2, size + 5] = 0.5, 0.3
    rows = task.rows
    wanted = ((task.source_vectors @ planted)[rows.users] * rows.vectors[rows.pick]).sum(1)
    task = replace(task, rows=replace(rows, wanted=wanted.astype(np.float32)), prior=np.zeros_like(task.prior))
    common, fit = fit_common_bridge(task, user_moments(task.rows), seed=1)
    assert fit.effects is not None
    assert fit.effects.penalty == 10
    assert np.abs(fit.effects.matrix - planted).max() < 0.05
    assert fit.chosen["common_effects_penalty"] == 10
    again, _ = fit_common_bridge(task, user_moments(task.rows), seed=2, fixed=fit.chosen)
    np.testing.assert_allclose(again.matrix, common.matrix, atol=1e-6)


def test_settings_ask_for_the_pair_of_hidden_units_that_the_start_needs() -> None:
    assert Settings(meta_hidden_size=2).meta_hidden_size == 2
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        Settings(meta_hidden_size=1)


@pytest.mark.parametrize("personal", [False, True])
def test_bridges_fitted_again_to_the_same_people_are_the_same_and_ask_no_validation_user(
    task: BridgeTask, personal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if personal:
        monkeypatch.setattr(closed_form, "PERSONAL_PENALTIES", (10.0,))
        monkeypatch.setattr(bridging, "_strength", lambda task, bridge: 0.5)
        task = planted_in_histories(task)
    trained = train_bridges(task, Settings(), lambda epoch, metrics: None)
    assert bool(trained.chosen["personal_features"]) == bool(trained.personal.strength) == personal
    nobody = replace(task, validation=task.validation.where(np.zeros(len(task.validation), bool)))
    again = refit_bridges(nobody, Settings(), trained.chosen, lambda epoch, metrics: None)
    assert again.chosen == trained.chosen
    assert tuple(trained.chosen) == CHOSEN
    for name, tensor in trained.tensors().items():
        np.testing.assert_allclose(again.tensors()[name], tensor, rtol=1e-3, atol=1e-5, err_msg=name)


def test_what_was_not_chosen_cannot_be_kept(task: BridgeTask) -> None:
    with pytest.raises(ArtifactError, match=r"does not say common_penalty, .*; materialize meta_network again"):
        refit_bridges(task, Settings(), {"emcdr_penalty": 1.0, "emcdr_epoch": 3.0}, lambda epoch, metrics: None)
