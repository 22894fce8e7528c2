"""Bridges of every form learn a planted map of that form, and attention a planted preference; checkpoints keep both."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_pair import USERS, calibrated_task, small_pair

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings, Scale
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.models.base import initialize
from ptupcdr_core.models.bridge_rows import BridgeRows
from ptupcdr_core.models.bridges import PersonalBridge, personal_part
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.settings import Settings
from ptupcdr_core.training import closed_form
from ptupcdr_core.training.bridging import ATTENTION, FORM, Bridges, train_bridges
from ptupcdr_core.training.closed_form import mean_histories, start_personal_bridge
from ptupcdr_core.training.gradient import meta_network_epochs
from ptupcdr_core.training.ridge import user_moments
from ptupcdr_core.training.task import BridgeTask, bridge_task
from ptupcdr_core.training.validation import validation_errors

FORMS: list[dict[str, Any]] = [{"form": "full"}, {"form": "low_rank", "rank": 2}, {"form": "diagonal"}]
NAMES = [form["form"] for form in FORMS]
EVERYBODY = np.arange(1, USERS + 1, dtype=np.int32)


def planted(matrix: Floats, *, users: int = 400, items: int = 60, length: int = 5, loud: float = 0.0) -> BridgeTask:
    """Ratings u c(user) W v of a planted matrix (D, D), strengthened by a number of each user's own.

    c is 1 plus the first coordinate of the history, an item of s stars counting e^(loud · s). Three quarters of the
    people train the bridge, the others are validation users.
    """
    rng, size = np.random.default_rng(3), len(matrix)
    people, source, target = (
        np.vstack([np.zeros(size), rng.normal(size=(count, size))]).astype(np.float32)
        for count in (users, items, items)
    )
    histories = rng.integers(1, items + 1, (users + 1, length)).astype(np.int32)
    stars = rng.choice([4, 5], histories.shape).astype(np.float32)
    weights = np.exp(loud * stars)
    own = 1 + ((weights / weights.sum(1, keepdims=True))[..., None] * source[histories]).sum(1)[:, 0]
    u = np.repeat(np.arange(1, users + 1), 15).astype(np.int32)
    i = rng.integers(1, items + 1, len(u)).astype(np.int32)
    rated = Ratings(u, i, np.asarray(own[u] * np.einsum("nx,xy,ny->n", people[u], matrix, target[i]), np.float32))
    train = rated.where(u <= users * 3 // 4)
    return BridgeTask(
        source_vectors=people,
        history_vectors=source,
        histories=histories,
        history_stars=stars,
        target=TargetItems(target, np.zeros(items + 1, np.float32)),
        target_user_vectors=people @ matrix,
        bridge_users=np.unique(train.users),
        rows=BridgeRows(train.users, target, train.items, train.stars),
        validation=rated.where(u > users * 3 // 4),
        scale=Scale(-100, 100),
        prior=np.zeros_like(matrix),
    )


def train(
    task: BridgeTask, network: MetaNetwork, *, epochs: int, learning_rate: float = 0.01
) -> tuple[float, list[float]]:
    """The part of the validation users' ratings that the bridges leave unexplained, and the training's losses."""
    bridge = PersonalBridge(network, task.prior, 1.0, task.prior)
    done = list(
        meta_network_epochs(
            task, bridge, epochs=epochs, batch_size=64, learning_rate=learning_rate, rng=np.random.default_rng(1)
        )
    )
    rmse = validation_errors(task, lambda users: done[-1].candidate.embed(task, users)).rmse
    trained = done[-1].candidate.network
    network.load_state_dict(trained.state_dict())
    return rmse / float(task.validation.stars.std()), [epoch.metrics["training_loss"] for epoch in done]


def matrix_of(form: str, size: int = 6) -> Floats:
    rng = np.random.default_rng(8)
    if form == "diagonal":
        return np.diag(rng.normal(size=size)).astype(np.float32)
    rank = 2 if form == "low_rank" else size
    return (rng.normal(size=(size, rank)) @ rng.normal(size=(rank, size)) / np.sqrt(rank)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_every_form_learns_a_planted_map_of_its_form(form: dict[str, Any]) -> None:
    task = planted(matrix_of(form["form"]))
    unexplained, _ = train(task, MetaNetwork(6, 32, **form).start(1), epochs=25)
    assert unexplained < 0.25, "a new user's rating is predicted to within a quarter of its spread"


@pytest.mark.parametrize("form", FORMS[1:], ids=NAMES[1:])
def test_a_form_does_not_learn_a_map_that_it_cannot_write(form: dict[str, Any]) -> None:
    unexplained, _ = train(planted(matrix_of("full")), MetaNetwork(6, 32, **form).start(1), epochs=25)
    assert unexplained > 0.4


def test_a_large_bridge_of_low_rank_trains() -> None:
    task = planted(matrix_of("low_rank", 128) / 8, users=300, items=200)
    _, losses = train(task, MetaNetwork(128, 50, form="low_rank", rank=4).start(1), epochs=8, learning_rate=0.002)
    assert losses[-1] < 0.5 * losses[0]


def test_rated_attention_learns_to_weigh_what_was_liked_best() -> None:
    task = planted(matrix_of("diagonal"), loud=3.0)
    left = {}
    for kind in ("items", "rated"):
        network = MetaNetwork(6, 32, form="diagonal", attention=kind).start(1)
        left[kind], _ = train(task, network, epochs=25)
    assert left["rated"] < 0.6 * left["items"]
    assert network.attention_signal is not None
    assert network.attention_signal.item() > 1


@pytest.mark.parametrize("form", FORMS[1:], ids=NAMES[1:])
def test_the_closed_form_start_of_a_form_finds_a_map_of_that_form(
    form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ratings follow Σ_k z_k(history) W_k, every W_k being of the form (and of one B, where the rank is low)."""
    monkeypatch.setattr(closed_form, "PERSONAL_PENALTIES", (0.1,))
    rng, task = np.random.default_rng(5), planted(matrix_of("full"))
    matrices = rng.normal(size=(6, 6, 6)) * np.eye(6)
    if form["form"] == "low_rank":
        matrices = rng.normal(size=(6, 6, 2)) @ rng.normal(size=(2, 6))
    users, vectors = task.rows.users, task.rows.vectors[task.rows.pick]
    strong = np.array([3, 2.5, 0, 0, 0, 0])  # along two directions, which are the histories' strongest
    task = replace(task, history_vectors=np.asarray(task.history_vectors * (strong + 0.1), np.float32))
    center = mean_histories(task, np.unique(users)).mean(0)
    steered = np.einsum("nk,kxy->nxy", (mean_histories(task, users) - center) * (strong > 0), matrices)
    wanted = np.einsum("nx,nxy,ny->n", task.source_vectors[users], steered, vectors)
    task = replace(task, rows=replace(task.rows, wanted=wanted.astype(np.float32)))
    moments = user_moments(task.rows)
    common = closed_form.CommonBridge(task.prior)
    bridge, fit = start_personal_bridge(task, moments, common, MetaNetwork(6, 16, **form).start(1), seed=1)
    assert np.isfinite(fit.penalty)
    own = personal_part(bridge.network, task, users)
    left = wanted - np.einsum("ny,ny->n", own, vectors)
    assert left.std() < 0.15 * wanted.std()


@pytest.mark.parametrize("recipe", ["calibrated", "honest"])
@pytest.mark.parametrize("form", ["low_rank", "diagonal"])
def test_bridges_of_a_form_come_back_from_their_tensors(recipe: str, form: str) -> None:
    task, settings = small_task(recipe), changed(recipe, bridge_form=form, attention="rated", bridge_rank=2)
    bridges = train_bridges(task, settings, lambda epoch, metrics: None)
    again = Bridges.from_tensors(bridges.tensors(), bridges.chosen)
    assert again.personal.network.form == bridges.personal.network.form
    assert again.personal.network.attention_kind == "rated"
    whole, same = (replace(b.personal, strength=1.0).embed(task, EVERYBODY) for b in (bridges, again))
    np.testing.assert_array_equal(whole, same)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({FORM: b"triangular"}, "personal.form is 'triangular', not one of full, low_rank, diagonal"),
        ({FORM: b"diagonal"}, "not those of diagonal bridges"),
        ({FORM: None}, "personal.form is ''"),
        ({ATTENTION: b"timed"}, "attention to timed"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_refused(changes: dict[str, bytes | None], message: str) -> None:
    settings = changed("honest", bridge_form="low_rank", bridge_rank=2)
    tensors = train_bridges(small_task("honest"), settings, lambda epoch, metrics: None).tensors()
    for name, told in changes.items():
        del tensors[name]
        if told is not None:
            tensors[name] = np.frombuffer(told, np.uint8)
    with pytest.raises(ArtifactError, match=message) as refused:
        Bridges.from_tensors(tensors, {})
    assert "materialize meta_network again" in str(refused.value)


def test_a_residual_bridge_starts_from_the_common_one() -> None:
    """With a step size of nearly nothing, everybody's bridge stays EMCDR's."""
    task, settings = small_task("honest"), changed("honest", residual=True)
    bridges = train_bridges(task, settings.model_copy(update={"learning_rate": 1e-12}), lambda epoch, metrics: None)
    np.testing.assert_array_equal(bridges.personal.common, bridges.emcdr.matrix)
    np.testing.assert_allclose(
        bridges.personal.embed(task, EVERYBODY), bridges.emcdr.embed(task, EVERYBODY), rtol=1e-5, atol=1e-6
    )


def changed(recipe: str, **changes: Any) -> Settings:
    return Settings(recipe=recipe, meta_hidden_size=8, embedding_size=3, epochs=2, **changes)


def small_task(recipe: str) -> BridgeTask:
    data, rng = small_pair(), np.random.default_rng(0)
    if recipe == "calibrated":
        return calibrated_task(data)
    sizes = data.source_item_count, data.target_item_count
    source, target = (initialize("mf", data.user_count, items, 3, rng) for items in sizes)
    return bridge_task(data, source, target)
