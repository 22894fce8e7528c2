"""Training finds a planted bridge, keeps the best epoch, and comes back from its checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_pair import SOURCE_ITEMS, TARGET_ITEMS, USERS, calibrated_task, small_pair

from ptupcdr_core.models.base import initialize
from ptupcdr_core.models.bridges import CommonBridge, PersonalBridge
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.bridging import Bridges, train_bridges
from ptupcdr_core.training.gradient import mapping_epochs, meta_network_epochs
from ptupcdr_core.training.task import BridgeTask, bridge_task
from ptupcdr_core.training.validation import choose, validation_errors

EVERYBODY = np.arange(1, USERS + 1, dtype=np.int32)
D = 4


@pytest.fixture(scope="module")
def planted() -> BridgeTask:
    """Random base models of the published kind, every target rating being u W v for one matrix W: the identity."""
    rng, data = np.random.default_rng(0), small_pair()
    source, target = (initialize("mf", USERS, items, D, rng) for items in (SOURCE_ITEMS, TARGET_ITEMS))
    target = replace(target, user_embedding=source.user_embedding)
    changed = {
        name: replace(ratings, stars=target.score(ratings.users, ratings.items))
        for name, ratings in (("target_train", data.target_train), ("target_validation", data.target_validation))
    }
    task = bridge_task(replace(data, **changed), source, target)
    return replace(task, scale=replace(task.scale, low=-100, high=100))


@pytest.fixture(scope="module", params=["calibrated", "published"])
def trained(request: pytest.FixtureRequest, planted: BridgeTask) -> tuple[BridgeTask, Bridges, dict[str, list[float]]]:
    curves: dict[str, list[float]] = {}

    def collect(epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            curves.setdefault(name, []).append(value)

    task = planted if request.param == "published" else calibrated_task(small_pair())
    return task, train_bridges(task, Settings(recipe=request.param, meta_hidden_size=8), collect), curves


def test_the_mapping_finds_the_planted_matrix(planted: BridgeTask) -> None:
    *_, last = mapping_epochs(
        planted, epochs=300, batch_size=8, learning_rate=0.02, seed=1, rng=np.random.default_rng(1)
    )
    assert last.number == 300
    np.testing.assert_allclose(last.candidate.matrix, np.eye(D), atol=0.02)
    assert last.metrics["training_loss"] < 1e-3


def test_the_meta_network_learns_what_the_common_bridge_leaves(planted: BridgeTask) -> None:
    network = MetaNetwork(D, 16, D, D)
    bridge = PersonalBridge(network, np.eye(D, dtype=np.float32) / 2, 1.0, np.eye(D, dtype=np.float32))
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    epochs = list(
        meta_network_epochs(
            planted,
            bridge,
            epochs=40,
            batch_size=32,
            learning_rate=0.01,
            rng=np.random.default_rng(1),
            start_counts=True,
        )
    )
    assert [epoch.number for epoch in epochs] == list(range(41))
    assert epochs[0].candidate is bridge
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, before[name], msg=f"the start's {name} was changed")
    losses = [epoch.metrics["training_loss"] for epoch in epochs[1:]]
    assert losses[-1] < 0.2 * losses[0]
    errors = [
        validation_errors(planted, lambda users, bridge=epoch.candidate: bridge.embed(planted, users)).rmse
        for epoch in epochs
    ]
    assert errors[-1] < 0.7 * errors[0], "a correction that is the same for all is found for new users too"


def test_without_histories_there_is_nothing_to_train(planted: BridgeTask) -> None:
    silent = replace(planted, histories=np.zeros_like(planted.histories))
    bridge = PersonalBridge(MetaNetwork(D, 4, D, D), planted.prior, 1.0, planted.prior)
    epochs = list(
        meta_network_epochs(silent, bridge, epochs=5, batch_size=8, learning_rate=0.01, rng=np.random.default_rng(1))
    )
    assert [(epoch.number, epoch.candidate) for epoch in epochs] == [(0, bridge)]


def test_the_epoch_of_the_lowest_validation_error_is_kept(planted: BridgeTask) -> None:
    """A step size that overshoots at the end: later is not better."""
    told: list[float] = []
    training = mapping_epochs(planted, epochs=15, batch_size=4, learning_rate=1.0, seed=1, rng=np.random.default_rng(1))
    best = choose(training, planted, lambda epoch, metrics: told.append(metrics["validation_rmse"]))
    assert len(told) == 15
    assert best.number == 1 + int(np.argmin(told)) < 15
    found = validation_errors(planted, lambda users: best.candidate.embed(planted, users)).rmse
    assert found == pytest.approx(min(told))


def test_patience_ends_a_training_that_gets_no_better(planted: BridgeTask) -> None:
    told: list[float] = []
    training = mapping_epochs(planted, epochs=50, batch_size=4, learning_rate=1.0, seed=1, rng=np.random.default_rng(1))
    best = choose(training, planted, lambda epoch, metrics: told.append(metrics["validation_rmse"]), patience=3)
    assert len(told) == best.number + 3 < 50


def test_every_setting_trains_its_bridges(trained: tuple) -> None:
    task, bridges, curves = trained
    names = [method.name for method in bridges.methods(task)]
    assert names == (["emcdr", "ptupcdr"] if bridges.common is None else ["emcdr", "common_bridge", "ptupcdr"])
    assert all(name.startswith(("emcdr_", "ptupcdr_")) for name in curves)
    for method in bridges.methods(task):
        assert np.isfinite(method.score(task.validation)).all()


def test_bridges_come_back_from_their_tensors(trained: tuple) -> None:
    task, bridges, _ = trained
    again = Bridges.from_tensors(bridges.tensors(), bridges.chosen)
    assert again.chosen == bridges.chosen
    for method, same in zip(bridges.methods(task), again.methods(task), strict=True):
        assert method.name == same.name
        np.testing.assert_array_equal(method.embed(EVERYBODY), same.embed(EVERYBODY))


def test_people_without_a_history_are_given_the_settings_fallback(trained: tuple) -> None:
    task, bridges, _ = trained
    untold = EVERYBODY[~task.has_history(EVERYBODY)]
    fallback: CommonBridge = bridges.emcdr if bridges.common is None else bridges.common
    np.testing.assert_allclose(bridges.personal.embed(task, untold), fallback.embed(task, untold), rtol=1e-5)


def test_validation_users_are_no_worse_off_with_the_personal_part_than_without() -> None:
    task = calibrated_task(small_pair())
    bridges = train_bridges(task, Settings(), lambda epoch, metrics: None)
    assert bridges.common is not None

    def rmse(bridge: CommonBridge | PersonalBridge) -> float:
        return validation_errors(task, lambda users: bridge.embed(task, users)).rmse

    assert rmse(bridges.personal) <= rmse(bridges.common) + 1e-9
    assert bridges.chosen["personal_strength"] == bridges.personal.strength


def test_a_seed_fixes_training_whatever_torchs_own_random_numbers_are(planted: BridgeTask) -> None:
    trained = []
    for state in (1, 2):
        torch.manual_seed(state)
        trained.append(train_bridges(planted, Settings(recipe="published", epochs=2), lambda epoch, metrics: None))
    first, second = (bridges.tensors() for bridges in trained)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name], err_msg=name)
