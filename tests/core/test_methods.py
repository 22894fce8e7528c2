"""Every method trains, offers what it says, and sees nothing of a test user's target ratings."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_pair import small_pair

from ptupcdr_core.data.pair_data import PairData, Ratings
from ptupcdr_core.engines.compiled_bridges import MetaAdam
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.methods import all_methods, methods_of
from ptupcdr_core.methods.cmf import union
from ptupcdr_core.methods.dcdcsr import benchmark_factors
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.methods.lacdr import ALIGNMENT, Autoencoders
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.methods.sscdr import _Sampler, neighbourhoods
from ptupcdr_core.models.meta import MetaNetwork, apply_bridges
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.gradient import mapping_epochs

EPOCHS = 3
MODELLED = [method for method in methods_of("published") if method.needs is not Needs.RATINGS]


def experiment(data: PairData | None = None, **changes: object) -> Experiment:
    settings = Settings(**{"recipe": "published", "epochs": EPOCHS, "embedding_size": 4, **changes})
    return Experiment(data or small_pair(), settings)


def scores(method: Method, data: PairData, **changes: object) -> list[np.ndarray]:
    return [epoch.candidate.score(data.target_test) for epoch in method.fit(experiment(data, **changes))]


def test_the_methods_of_the_paper_are_there():
    published = {method.name for method in methods_of("published")}
    assert {"tgt", "cmf", "emcdr", "sscdr", "dcdcsr", "lacdr", "ptupcdr"} < published
    assert {"global_mean", "item_mean", "source_offset"} <= published
    assert {method.name for method in methods_of("calibrated")} >= {"tgt", "emcdr", "common_bridge", "ptupcdr"}
    for recipe in ("published", "calibrated"):
        names = [method.name for method in methods_of(recipe)]
        assert len(names) == len(set(names)), "one fit for each name and recipe"
    assert all(a.needs <= b.needs for a, b in pairwise(all_methods()))


def test_an_unknown_method_is_named_with_those_there_are():
    with pytest.raises(SettingsError, match=r"unknown method emcrd; known: .*emcdr"):
        methods_of("published", ["tgt", "emcrd"])


@pytest.mark.parametrize("kind", ["mf", "gmf", "dnn"])
@pytest.mark.parametrize("method", MODELLED, ids=lambda method: method.name)
def test_a_published_method_offers_every_epoch(method, kind):
    data = small_pair()
    epochs = list(method.fit(experiment(data, base_model=kind)))
    assert [epoch.number for epoch in epochs] == list(range(1, EPOCHS + 1))
    after = [epoch.candidate.score(data.target_test) for epoch in epochs]
    assert all(np.isfinite(one).all() for one in after)
    at_once = [
        epoch.candidate.score(data.target_test) for epoch in method.fit(experiment(data, base_model=kind))
    ]  # each before the next epoch is trained
    np.testing.assert_array_equal(after, at_once, err_msg="later epochs changed an earlier candidate")


@pytest.mark.parametrize("method", MODELLED, ids=lambda method: method.name)
def test_a_method_does_not_see_the_test_users_target_ratings(method):
    data = small_pair()
    others = replace(data.target_test, stars=6 - data.target_test.stars)
    np.testing.assert_array_equal(scores(method, data), scores(method, replace(data, target_test=others)))


@pytest.mark.parametrize("recipe", ["published", "calibrated"])
def test_what_was_fitted_before_does_not_change_a_method(recipe):
    data = small_pair()
    shared = experiment(data, recipe=recipe)
    for method in methods_of(recipe):
        after_others = [epoch.candidate.score(data.target_test) for epoch in method.fit(shared)]
        np.testing.assert_array_equal(after_others, scores(method, data, recipe=recipe), err_msg=method.name)


def test_tgt_ends_as_the_target_model_of_the_bridges():
    one, other = experiment(), experiment()
    (tgt,) = methods_of("published", ["tgt"])
    *_, last = tgt.fit(one)
    np.testing.assert_array_equal(one.target_model.item_vectors(), other.target_model.item_vectors())
    np.testing.assert_array_equal(last.candidate.items.vectors, one.target_model.item_vectors())


def test_cmf_numbers_target_items_after_the_sources():
    data = small_pair()
    both = union(data)
    assert len(both) == len(data.source) + len(data.target_train)
    assert both.items[: len(data.source)].max() <= data.source_item_count
    np.testing.assert_array_equal(both.items[len(data.source) :] - data.source_item_count, data.target_train.items)


def test_emcdr_finds_a_planted_map():
    task = experiment().task
    planted = np.random.default_rng(1).standard_normal(task.prior.shape).astype(np.float32)
    task = replace(task, target_user_vectors=task.source_vectors @ planted)
    *_, last = mapping_epochs(task, epochs=600, batch_size=64, learning_rate=0.02, seed=1, rng=np.random.default_rng(0))
    np.testing.assert_allclose(last.candidate.matrix, planted, atol=1e-2)


def three_people() -> PairData:
    """Users 1 and 2 in both domains, 3 in the source alone, where 1 rates items 1 and 2, 2 rates 2, 3 rates 2, 3."""
    source = Ratings(
        np.array([1, 1, 2, 3, 3], np.int32), np.array([1, 2, 2, 2, 3], np.int32), np.full(5, 4, np.float32)
    )
    target = Ratings(np.array([1, 2, 2, 2], np.int32), np.array([1, 1, 2, 3], np.int32), np.full(4, 3, np.float32))
    return replace(small_pair(), user_count=3, source_item_count=3, source=source, target_train=target)


def test_dcdcsr_trusts_the_denser_domain():
    task = replace(
        experiment().task,
        bridge_users=np.array([1, 2], np.int32),
        source_vectors=np.array([[0], [3], [8], [0]], np.float32),
        target_user_vectors=np.array([[0], [6], [4], [0]], np.float32),
    )
    # User 1: two source ratings, one target; user 2: one and three.
    np.testing.assert_allclose(
        benchmark_factors(three_people(), task), [[2 / 3 * 3 + 1 / 3 * 6], [1 / 4 * 8 + 3 / 4 * 4]], rtol=1e-6
    )


def test_sscdr_averages_a_user_with_those_two_hops_away():
    vectors = np.array([[0], [1], [4], [10]], np.float32)
    # Items: 1 rated by user 1 (mean 1), 2 by everybody (mean 5), 3 by user 3 (mean 10).
    # Two hops: user 1 (1 + 5) / 2 = 3, user 2 5, user 3 (5 + 10) / 2 = 7.5; averaged with the user's own.
    np.testing.assert_allclose(neighbourhoods(three_people(), vectors), [[0], [2], [4.5], [8.75]], rtol=1e-6)


def test_sscdr_draws_a_rated_and_mostly_an_unrated_item():
    data = small_pair()
    sampler = _Sampler(data, np.random.default_rng(0))
    rated = set(zip(data.source.users.tolist(), data.source.items.tolist(), strict=True))
    users = np.repeat(data.cohorts["bridge"], 50)
    chosen, other = (items.numpy().tolist() for items in sampler(users))
    assert all(couple in rated for couple in zip(users.tolist(), chosen, strict=True))
    hit = np.mean([couple in rated for couple in zip(users.tolist(), other, strict=True)])
    assert hit < 0.25, "a rated item is only left where two draws hit one: (9/25)² = 0.13"


def test_lacdr_counts_what_a_user_has():
    model = Autoencoders(3, 3)
    with torch.no_grad():
        for layer in model.children():
            layer.weight.fill_(0)
        model.source_encoder.weight[0, 0] = 1
    source, target = torch.tensor([[3.0, 4.0, 0.0]] * 3), torch.tensor([[0.0, 6.0, 8.0]] * 3)
    # Nothing is rebuilt: distances 5 and 10. The source code is (3), the target's (0): 3 apart.
    loss = model.loss(source, target, torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 1.0, 1.0]))
    assert loss.item() == pytest.approx((5 + 10 + (5 + 10 + ALIGNMENT * 3)) / 3, rel=1e-5)


@pytest.mark.parametrize("attention", ["items", "rated", "timed"])
@pytest.mark.parametrize("form", ["full", "low_rank", "diagonal"])
@pytest.mark.parametrize(("shape", "penalty"), [((6, 6), 0.0), ((5, 7), 0.02), ((7, 5), 0.02)])
def test_the_compiled_meta_training_is_torchs(shape, penalty, form, attention):
    rng = np.random.default_rng(3)
    users, items, length, size, batch = 12, 30, 5, 4, 16
    histories = rng.integers(1, items + 1, (users + 1, length)).astype(np.int32)
    for user in range(users + 1):  # of any length, but none empty
        histories[user, rng.integers(1, length + 1) :] = 0
    rows = Rows(
        rng.integers(1, users + 1, 50).astype(np.int32), rng.integers(0, 20, 50),
        rng.standard_normal(50).astype(np.float32), histories,
        rng.standard_normal((items + 1, size), dtype=np.float32),
        rng.standard_normal((users + 1, shape[0]), dtype=np.float32),
        rng.standard_normal((20, shape[1]), dtype=np.float32),
        rng.choice([3.5, 4, 5], histories.shape).astype(np.float32),
    )  # fmt: skip
    network = MetaNetwork(size, 8, *shape, form=form, rank=2, attention=attention).start(5)
    if attention != "items":
        torch.nn.init.constant_(network.attention_signal, 0.5)
    state, optimizer = MetaAdam.start(network, rows), torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(3):
        order, total = rng.permutation(50), 0.0
        for chosen in np.split(order, range(batch, 50, batch)):
            items_of = histories[rows.users[chosen]]
            bridges = network(
                torch.from_numpy(rows.history_vectors[items_of]),
                torch.from_numpy(items_of > 0),
                torch.from_numpy(rows.stars[rows.users[chosen]]),
            )
            bridged = apply_bridges(torch.from_numpy(rows.source_vectors[rows.users[chosen]]), bridges)
            score = (bridged * torch.from_numpy(rows.item_vectors[rows.pick[chosen]])).sum(1)
            loss = (score - torch.from_numpy(rows.wanted[chosen])).square().mean()
            loss = loss + penalty * bridges.square().sum((1, 2)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        assert state.epoch(order, batch, 0.01, penalty) == pytest.approx(total / 50, rel=1e-4)
    for name, weight in state.network().state_dict().items():
        torch.testing.assert_close(weight, network.state_dict()[name], atol=1e-5, rtol=1e-4)
