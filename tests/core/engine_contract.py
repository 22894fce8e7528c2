"""Tests that every engine must pass: its numbers equal those of the compiled loops, which other tests check.

A test module applies them to an engine by a class of its own::

    class TestTorch(EngineContract):
        engine = TorchEngine(torch.device("cpu"))
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from small_pair import SOURCE_ITEMS, USERS, calibrated_task, small_pair

from ptupcdr_core.engines.base import Engine, LeastSquares, Passes
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.kernels.meta_network import Rows
from ptupcdr_core.models.base import BaseModelKind, initialize
from ptupcdr_core.models.meta import MetaNetwork
from ptupcdr_core.settings import Attention
from ptupcdr_core.training.task import BridgeTask

KINDS = ["mf", "gmf", "dnn"]
FORMS: list[dict[str, Any]] = [{"form": "full"}, {"form": "low_rank", "rank": 2}, {"form": "diagonal"}]


def passes(epochs: int, batch_size: int) -> Passes:
    """Passes with the same order of rows every time."""
    return Passes(epochs, batch_size, learning_rate=0.01, rng=np.random.default_rng(4))


def long_tail() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item 1 has many of the ratings; some items and the last user, 60, have none."""
    rng = np.random.default_rng(7)
    users, items = rng.integers(1, 60, 700).astype(np.int32), np.minimum(rng.geometric(0.2, 700), 40).astype(np.int32)
    return users, items, rng.standard_normal(700).astype(np.float32)


def factors(engine: Engine, ratings: Sequence[np.ndarray], ridge: Ridge) -> LeastSquares:
    """Sixty users and forty items with ten coordinates; those of the items are drawn at random."""
    users, items, stars = ratings
    start = np.random.default_rng(1).standard_normal((41, 10), dtype=np.float32)
    start[0] = 0
    by_user, by_item = compress(users, items, stars, 60), compress(items, users, stars, 40)
    return engine.least_squares(by_user, by_item, start, ridge, ridge._replace(regularization=0.2))


@cache
def task() -> BridgeTask:
    """A calibrated task, in which source, target and history vectors all differ in size."""
    return calibrated_task(small_pair())


def meta_rows(of: BridgeTask) -> Rows:
    """The rows of users who have a history."""
    told, rows = np.flatnonzero(of.has_history(of.rows.users)), of.rows
    return Rows(
        rows.users[told], rows.pick[told], rows.wanted[told], of.histories, of.history_vectors,
        of.source_vectors, rows.vectors, of.history_stars,
    )  # fmt: skip


class EngineContract:
    """The tests."""

    engine: Engine

    @pytest.mark.parametrize("unobserved_weight", [0.0, 0.1], ids=["explicit", "implicit"])
    @pytest.mark.parametrize("weighted", [True, False])
    def test_least_squares(self, weighted: bool, unobserved_weight: float) -> None:
        ridge = Ridge(0.3, weighted, unobserved_weight)
        ours, compiled = (factors(engine, long_tail(), ridge) for engine in (self.engine, COMPILED))
        assert not ours.vectors()[0].any(), "nobody is solved yet"
        for _ in range(4):
            for solve in ("solve_users", "solve_items"):
                getattr(ours, solve)()
                getattr(compiled, solve)()
                for vectors, wanted in zip(ours.vectors(), compiled.vectors(), strict=True):
                    assert vectors.dtype == np.float32
                    np.testing.assert_allclose(vectors, wanted, rtol=1e-4, atol=1e-6)
        assert not ours.vectors()[0][[0, 60]].any()

    def test_least_squares_of_no_ratings(self) -> None:
        nothing = np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32)
        found = factors(self.engine, nothing, Ridge(1.0))
        found.solve_users()
        found.solve_items()
        assert [vectors.any() for vectors in found.vectors()] == [False, False]

    @pytest.mark.parametrize("kind", KINDS)
    def test_base_models(self, kind: BaseModelKind) -> None:
        start = initialize(kind, USERS, SOURCE_ITEMS, 6, np.random.default_rng(2))
        before = {name: value.copy() for name, value in start.tensors().items()}
        ours, compiled = (
            list(engine.base_model(start, small_pair().source, passes(4, 16))) for engine in (self.engine, COMPILED)
        )
        assert len(ours) == 4
        for (loss, model), (wanted_loss, wanted) in zip(ours, compiled, strict=True):
            assert loss == pytest.approx(wanted_loss, rel=1e-4)
            for name, value in wanted.tensors().items():
                np.testing.assert_allclose(model.tensors()[name], value, atol=2e-4, err_msg=name)
        assert not ours[-1][1].user_embedding[0].any()
        assert (ours[0][1].user_embedding != ours[1][1].user_embedding).any(), "an earlier epoch was changed"
        for name, value in start.tensors().items():
            np.testing.assert_array_equal(value, before[name], err_msg="the start was changed")

    def test_base_models_refuse_indices_outside_the_tables(self) -> None:
        start = initialize("mf", USERS, SOURCE_ITEMS - 1, 4, np.random.default_rng(0))
        with pytest.raises(ValueError, match="items must lie in"):
            list(self.engine.base_model(start, small_pair().source, passes(1, 16)))

    @pytest.mark.parametrize("attention", ["items", "rated", "timed"])
    @pytest.mark.parametrize("form", FORMS, ids=[form["form"] for form in FORMS])
    @pytest.mark.parametrize("penalty", [0.0, 0.05])
    def test_meta_networks(self, penalty: float, form: dict[str, Any], attention: Attention) -> None:
        start = MetaNetwork(task().history_vectors.shape[1], 8, *task().prior.shape, **form, attention=attention).start(
            5
        )
        before = {name: weight.clone() for name, weight in start.state_dict().items()}
        ours, compiled = (
            list(engine.meta_network(start, meta_rows(task()), penalty, passes(2, 32)))
            for engine in (self.engine, COMPILED)
        )
        assert len(ours) == 2
        for (loss, network), (wanted_loss, wanted) in zip(ours, compiled, strict=True):
            assert loss == pytest.approx(wanted_loss, rel=1e-4)
            weights = network.state_dict()
            for name, weight in wanted.state_dict().items():
                torch.testing.assert_close(weights[name], weight, atol=2e-4, rtol=1e-3, msg=name)
        out = [network.state_dict()["decoder_out.weight"] for _, network in ours]
        assert (out[0] != out[1]).any(), "an earlier epoch was changed"
        torch.testing.assert_close(start.state_dict(), before, atol=0, rtol=0)

    def test_mappings(self) -> None:
        users = task().bridge_users
        source, wanted = task().source_vectors[users], task().target_user_vectors[users]
        start = np.full((source.shape[1], wanted.shape[1]), 0.1, np.float32)
        ours, compiled = (
            list(engine.mapping(start, source, wanted, passes(5, 8))) for engine in (self.engine, COMPILED)
        )
        assert len(ours) == 5
        for (loss, matrix), (wanted_loss, wanted_matrix) in zip(ours, compiled, strict=True):
            assert loss == pytest.approx(wanted_loss, rel=1e-4)
            np.testing.assert_allclose(matrix, wanted_matrix, atol=1e-5)
        assert (ours[0][1] != ours[1][1]).any(), "an earlier epoch was changed"
        assert (start == np.float32(0.1)).all(), "the start was changed"
