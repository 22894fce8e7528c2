"""Closed-form bridges between large embeddings: what is confined to leading directions, and what is not."""

from dataclasses import replace

import numpy as np
import pytest
from small_pair import calibrated_task, small_pair

from ptupcdr_core.settings import Settings
from ptupcdr_core.training import bridging, closed_form
from ptupcdr_core.training.bridging import train_bridges
from ptupcdr_core.training.leading import Leading, beyond
from ptupcdr_core.training.task import BridgeTask


@pytest.fixture(scope="module")
def task() -> BridgeTask:
    return calibrated_task(small_pair())


def test_small_bridges_are_fitted_whole(task):
    whole = Leading.of(task, task.prior.size)
    assert whole.whole
    assert whole.confine(task) is task
    assert not Leading.of(task, task.prior.size - 1).whole


def test_one_direction_is_left_at_least_and_all_other_coordinates(task):
    least = Leading.of(task, 1)
    size, (X, Y) = task.history_vectors.shape[1], task.prior.shape
    assert least.confine(task).prior.shape == (X - size + 1, Y - size + 1)
    np.testing.assert_allclose(least.lift(least.confine(task).prior), task.prior, atol=1e-6)


def test_directions_are_those_in_which_factors_are_largest(task):
    size = task.history_vectors.shape[1]
    stretched = task.source_vectors.copy()
    stretched[:, 1] *= 100
    least = Leading.of(replace(task, source_vectors=stretched), 1)
    np.testing.assert_allclose(np.abs(least.source[:size, 0]), np.eye(size)[1], atol=0.05)
    np.testing.assert_allclose(least.source.T @ least.source, np.eye(least.source.shape[1]), atol=1e-6)


def test_a_lifted_bridge_predicts_what_the_confined_one_does(task):
    along = Leading.of(task, 60)
    small = along.confine(task)
    bridge = np.random.default_rng(0).normal(size=small.prior.shape).astype(np.float32)
    np.testing.assert_allclose(
        beyond(task, along.lift(bridge)).wanted, beyond(small, bridge).wanted, rtol=1e-4, atol=1e-4
    )


def test_the_entry_that_moves_every_prediction_stays_the_same(task):
    small = Leading.of(task, 60).confine(task)
    assert task.level is not None
    assert small.level is not None
    row, column = small.level
    assert np.ptp(small.source_vectors[small.bridge_users, row]) == 0
    np.testing.assert_array_equal(small.source_vectors[:, row], task.source_vectors[:, task.level[0]])
    np.testing.assert_array_equal(small.rows.vectors[:, column], task.rows.vectors[:, task.level[1]])


def test_confined_training_comes_near_to_the_whole(task, monkeypatch):
    settings = Settings(embedding_size=task.history_vectors.shape[1])

    def error() -> float:
        common = train_bridges(task, settings, lambda epoch, metrics: None).common
        assert common is not None
        return float(np.square(beyond(task, common.matrix).wanted).mean())

    whole = error()
    for module in (bridging, closed_form):
        monkeypatch.setattr(module, "MOST_UNKNOWNS", task.prior.size - 1)
    confined, prior = error(), float(np.square(beyond(task, task.prior).wanted).mean())
    assert whole <= confined < prior
