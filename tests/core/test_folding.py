"""Folding in gives the vectors that training would have given; leaving a rating out is as if it never existed."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import Lineage
from small_lineage import PAIR
from small_pair import SIZE, calibrated_models, small_pair

from ptupcdr_core.data.pair_data import Ratings, load_pair
from ptupcdr_core.models.base import initialize
from ptupcdr_core.modes.rating.checkpoints import load_bridge_task, load_sides
from ptupcdr_core.modes.rating.mode import source_space
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.folding import SourceSpace

DATA = small_pair()
ENOUGH = 10
"""Ratings from which on a person's place is well determined."""


def spaces() -> dict[str, SourceSpace]:
    rng = np.random.default_rng(3)
    reference = {
        kind: source_space(initialize(kind, DATA.user_count, DATA.source_item_count, SIZE, rng))  # type: ignore[arg-type]
        for kind in ("mf", "gmf", "dnn")
    }
    source = calibrated_models(DATA)[0]
    # Nothing is planted by which people agree more or less with others: there the damping would be infinite.
    damped = replace(source, dampings=np.full_like(source.dampings, 3))
    return {"calibrated": source_space(source), "calibrated, everything counts": source_space(damped), **reference}


SPACES = spaces()


def test_who_was_in_training_is_folded_in_where_training_put_them(lineage: Lineage) -> None:
    data = load_pair(Warehouse(lineage.home.warehouse), PAIR)
    trained = load_bridge_task(lineage.home, data).source_vectors
    folded = source_space(load_sides(lineage.home, data).source).fold_in(data.source, data.user_count)
    enough = np.flatnonzero(np.bincount(data.source.users) >= ENOUGH)
    cosines = np.einsum("rx,rx->r", trained, folded)[enough] / (
        np.linalg.norm(trained[enough], axis=1) * np.linalg.norm(folded[enough], axis=1)
    )
    assert len(enough) > 200
    assert cosines.min() >= 0.98
    assert np.median(cosines) >= 0.999


@pytest.mark.parametrize("name", SPACES)
def test_a_rating_left_out_is_one_that_never_was(name: str) -> None:
    ratings, space = DATA.source, SPACES[name]
    places = np.arange(1, len(ratings), 3)
    without = space.leave_out(ratings, DATA.user_count, places)
    for place, vector in zip(places, without, strict=True):
        others = ratings.where(np.arange(len(ratings)) != place)
        again = space.fold_in(others, DATA.user_count)[ratings.users[place]]
        np.testing.assert_allclose(vector, again, atol=2e-5)


@pytest.mark.parametrize("name", SPACES)
def test_without_their_only_rating_people_are_nobody(name: str) -> None:
    only = Ratings(np.array([1], np.int32), np.array([4], np.int32), np.array([5], np.float32))
    nobody = Ratings(*(column[:0] for column in (only.users, only.items, only.stars)))
    space = SPACES[name]
    expected = space.fold_in(nobody, 1)[1]
    np.testing.assert_allclose(space.leave_out(only, 1, np.array([0]))[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["mf", "gmf", "dnn"])
def test_a_published_user_is_the_ridge_solution_around_the_prior(name: str) -> None:
    """The gradient of Σ (r - score)² + |p|², the negative logarithm of the posterior, is zero there."""
    space, ratings = SPACES[name], DATA.source
    model = space.model  # type: ignore[attr-defined]

    def loss(embedding: np.ndarray, user: int) -> float:
        mine = ratings.where(ratings.users == user)
        layer = np.eye(SIZE) if name != "dnn" else model.weight
        vector = embedding @ layer.T + (0 if model.bias is None else model.bias)
        return float(np.square(mine.stars - model.item_vectors()[mine.items] @ vector).sum() + embedding @ embedding)

    user = int(ratings.users[0])
    vector = space.fold_in(ratings, DATA.user_count)[user].astype(float)
    found = vector if name != "dnn" else np.linalg.solve(model.weight.astype(float), vector - model.bias)
    steps = 1e-3 * np.eye(SIZE)
    slopes = [(loss(found + step, user) - loss(found - step, user)) / 2e-3 for step in steps]
    np.testing.assert_allclose(slopes, 0, atol=2e-3)


@pytest.mark.parametrize("name", SPACES)
def test_what_is_kept_for_folding_in_has_no_row_of_a_person(name: str) -> None:
    rows = {table: len(tensor) for table, tensor in SPACES[name].tensors().items() if tensor.ndim}
    assert DATA.user_count + 1 not in rows.values(), rows


def test_ratings_that_are_not_ordered_by_user_are_refused() -> None:
    backwards = Ratings(*(column[::-1] for column in (DATA.source.users, DATA.source.items, DATA.source.stars)))
    with pytest.raises(ValueError, match="ordered by user"):
        SPACES["calibrated"].leave_out(backwards, DATA.user_count, np.array([0]))
