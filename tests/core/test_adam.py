"""The lazy row-wise Adam gives the numbers of dense Adam over whole tables."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptupcdr_core.engines.compiled_adam import RowAdam, shuffled, train_epoch
from ptupcdr_core.models.base import BaseModel, initialize

USERS, ITEMS, SIZE = 120, 60, 10
KINDS = ["mf", "gmf", "dnn"]


def ratings(count: int, rng: np.random.Generator, users: int = USERS, items: int = ITEMS):
    """Ratings with a long tail on both sides, so that most rows are skipped by most batches."""
    columns = [np.minimum(rng.geometric(min(1, 4 / rows), count), rows).astype(np.int32) for rows in (users, items)]
    return *columns, rng.integers(1, 6, count).astype(np.float32)


class DenseAdam:
    """The plain way: torch modules, dense gradients, every row in every step."""

    def __init__(self, model: BaseModel, learning_rate: float):
        self.model = model
        self.parameters = {name: torch.tensor(value, requires_grad=True) for name, value in model.tensors().items()}
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=learning_rate)

    def scores(self, users, items):
        u, v = self.parameters["user_embedding"][users], self.parameters["item_embedding"][items]
        if self.model.kind == "gmf":
            u = u * self.parameters["weight"]
        if self.model.kind == "dnn":
            u = torch.nn.functional.linear(u, self.parameters["weight"], self.parameters["bias"])
        return (u * v).sum(1)

    def epoch(self, users, items, ratings, order, batch_size):
        total = 0.0
        for batch in np.split(order, range(batch_size, len(order), batch_size)):
            rows = [torch.tensor(column[batch]) for column in (users, items, ratings)]
            loss = ((self.scores(*rows[:2]) - rows[2]) ** 2).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(batch)
        return total / len(order)


def assert_same_training(kind, users, items, batch_size, epochs, seed, count, rates=(0.01,), size=SIZE):
    rng = np.random.default_rng(seed)
    data = ratings(count, rng, users, items)
    model = initialize(kind, users, items, size, rng)
    state, dense = RowAdam.start(model), DenseAdam(model, rates[0])
    for epoch in range(epochs):
        order = rng.permutation(count)
        dense.optimizer.param_groups[0]["lr"] = rate = rates[epoch % len(rates)]
        ours, plain = (
            train_epoch(state, *(column[order] for column in data), batch_size, rate),
            dense.epoch(*data, order, batch_size),
        )
        assert ours == pytest.approx(plain, rel=1e-5)
    for name, value in state.model().tensors().items():
        np.testing.assert_allclose(value, dense.parameters[name].detach(), atol=2e-4, err_msg=name)
    return model, state


@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_steps_with_skipped_rows_equal_dense_adam(kind):
    model, state = assert_same_training(kind, USERS, ITEMS, batch_size=8, epochs=2, seed=3, count=1500)
    assert state.steps == 2 * 188
    trained = state.model()
    assert not trained.user_embedding[0].any()
    assert (trained.user_embedding != model.user_embedding).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 3, 19])
def test_rows_that_fill_no_whole_register_equal_dense_adam(kind, size):
    assert_same_training(kind, 30, 20, batch_size=16, epochs=1, seed=2, count=300, size=size)


def test_more_skipped_steps_than_a_moment_lasts():
    assert_same_training("mf", 2000, 300, batch_size=1, epochs=1, seed=1, count=1500)


def test_the_learning_rate_may_change_between_epochs():
    assert_same_training("mf", USERS, ITEMS, batch_size=16, epochs=3, seed=5, count=400, rates=(0.01, 0.001, 0.02))


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    users=st.integers(1, 40),
    items=st.integers(1, 40),
    batch_size=st.integers(1, 70),
    count=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_any_sizes_equal_dense_adam(kind, users, items, batch_size, count, seed):
    assert_same_training(kind, users, items, batch_size, epochs=2, seed=seed, count=count)


def test_untouched_rows_stay_as_they_are():
    model = initialize("mf", 9, 9, SIZE, np.random.default_rng(0))
    state = RowAdam.start(model)
    one = np.full(50, 4, np.int32)
    train_epoch(state, one, one, np.full(50, 3, np.float32), 1, 0.01)
    changed = [
        (state.model().tensors()[name] != value).any(1).nonzero()[0].tolist() for name, value in model.tensors().items()
    ]
    assert changed == [[4], [4]]


@pytest.mark.parametrize(("users", "items", "name"), [([0], [1], "users"), ([1], [10], "items")])
def test_indices_outside_the_tables_are_refused(users, items, name):
    state = RowAdam.start(initialize("mf", 9, 9, SIZE, np.random.default_rng(0)))
    rows = np.array(users, np.int32), np.array(items, np.int32)
    with pytest.raises(ValueError, match=rf"{name} must lie in 1\.\.9"):
        train_epoch(state, *rows, np.ones(1, np.float32), 4, 0.01)


def test_a_seed_fixes_everything():
    runs = []
    for _ in range(2):
        rng = np.random.default_rng(11)
        data = ratings(500, rng)
        state = RowAdam.start(initialize("mf", USERS, ITEMS, SIZE, rng))
        train_epoch(state, *data, 32, 0.01)
        runs.append(state.model())
    np.testing.assert_array_equal(runs[0].user_embedding, runs[1].user_embedding)
    np.testing.assert_array_equal(runs[0].item_embedding, runs[1].item_embedding)


def test_a_planted_factorization_is_found():
    rng = np.random.default_rng(0)
    P, Q = rng.standard_normal((201, 2)), rng.standard_normal((101, 2))
    users, items = (index.ravel().astype(np.int32) + 1 for index in np.indices((200, 100)))
    wanted = (P[users] * Q[items]).sum(1).astype(np.float32)
    state = RowAdam.start(initialize("mf", 200, 100, 4, rng))
    for _ in range(20):
        order = rng.permutation(len(users))
        train_epoch(state, users[order], items[order], wanted[order], 64, 0.01)
    np.testing.assert_allclose(state.model().score(users, items), wanted, atol=0.1)


@pytest.mark.parametrize("count", [1, 31, 32, 500])
def test_ratings_are_shuffled_together_in_the_order_that_the_generator_draws(count):
    users, items, stars = ratings(count, np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(count)
    found = shuffled(users, items, stars, np.random.default_rng(1))
    for column, wanted in zip(found, (users, items, stars), strict=True):
        np.testing.assert_array_equal(column, wanted[order])
