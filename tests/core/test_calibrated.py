"""The calibrated base model and the simple baselines, against small cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from small_pair import calibrated_models, small_pair

from ptupcdr_core.data.pair_data import Ratings
from ptupcdr_core.methods.simple import simple_baselines, source_offset_fixed, source_offsets
from ptupcdr_core.training.calibrated import carry_over, damped_means, fit_calibrated
from ptupcdr_core.training.calibrated_model import CalibratedModel, SourceCoordinates, rater_weights
from ptupcdr_core.training.folding import CalibratedSpace
from ptupcdr_core.training.variance_components import VarianceComponents, shrunk_means


def ratings(*rows: tuple[int, int, float]) -> Ratings:
    users, items, stars = zip(*rows, strict=True)
    return Ratings(np.array(users, np.int32), np.array(items, np.int32), np.array(stars, np.float32))


def fit(of: Ratings, users: int, items: int, size: int = 2) -> CalibratedModel:
    return fit_calibrated(of, users, items, size=size, seed=1, on_epoch=lambda epoch, metrics: None)


def test_a_damped_mean_is_drawn_to_zero_by_five_ratings() -> None:
    means = damped_means(np.array([2, 2, 1], np.int32), np.array([1, 2, -6], np.float32), 3)
    np.testing.assert_allclose(means, [0, -6 / 6, 3 / 7, 0])


def test_mean_biases_offsets_and_residuals_by_hand() -> None:
    of = ratings((1, 1, 5), (1, 2, 3), (2, 1, 4), (2, 2, 4))
    model = fit(of, 3, 2)
    assert model.mean == 4
    # Items vary by 1/2 around the mean where noise would make it 1/4; users not at all.
    damping = 0.5 / (0.5 - 0.5 / 2)
    np.testing.assert_allclose(model.item_bias, [0, 1 / (2 + damping), -1 / (2 + damping)], rtol=1e-6)
    np.testing.assert_allclose(model.user_offset, [0, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(model.residuals(of), [3 / 4, -3 / 4, -1 / 4, 1 / 4], rtol=1e-6)
    assert model.user_counts.tolist() == [0, 2, 2, 0]
    assert model.item_counts.tolist() == [0, 2, 2]


def test_a_kind_user_has_a_positive_offset_beyond_the_items() -> None:
    model = fit(ratings((1, 1, 5), (1, 2, 5), (2, 1, 3), (2, 2, 3)), 2, 2)
    np.testing.assert_allclose(model.item_bias, 0, atol=1e-7)
    np.testing.assert_allclose(model.user_offset, [0, 1, -1], rtol=1e-6)
    assert model.damping("user_offset") < 1e-5, "their ratings differ by user alone"


def test_unknown_users_and_items_and_padding_are_zero() -> None:
    model = fit(ratings((2, 3, 5), (4, 3, 1), (2, 1, 2)), 5, 4)
    for table in (model.user_embedding, model.user_offset, model.user_counts):
        assert not table[[0, 1, 3, 5]].any()
    for table in (model.item_embedding, model.item_bias, model.item_counts):
        assert not table[[0, 2, 4]].any()


def test_the_factors_find_a_planted_taste() -> None:
    """Half of the people love what the other half hates: mean and biases cannot show it, one factor can."""
    rows = [(u, i, 5.0 if (u + i) % 2 else 1.0) for u in range(1, 21) for i in range(1, 21)]
    of = ratings(*rows)
    model = fit(of, 20, 20, size=1)
    explained = (model.user_embedding[of.users] * model.item_embedding[of.items]).sum(1)
    assert np.abs(model.residuals(of)).min() > 1.9
    assert np.abs(model.residuals(of) - explained).max() < 0.5


def test_every_iteration_is_reported_and_the_loss_falls() -> None:
    told: dict[int, float] = {}
    data = small_pair()
    fit_calibrated(
        data.source,
        data.user_count,
        data.source_item_count,
        size=3,
        seed=1,
        on_epoch=lambda epoch, metrics: told.update({epoch: metrics["training_loss"]}),
    )
    assert list(told) == list(range(1, len(told) + 1))
    assert told[len(told)] < told[1]


def test_a_model_is_made_again_from_its_tensors() -> None:
    model = calibrated_models(small_pair())[0]
    again = CalibratedModel.from_tensors(model.tensors())
    assert again.tensors().keys() == model.tensors().keys()
    for name, tensor in model.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], tensor)


def test_carrying_over_finds_the_planted_share() -> None:
    offsets = np.array([0, 1, -1, 0.5], np.float32)
    bias = np.array([0, 0.25, -0.25], np.float32)
    of = ratings(*[(u, i, 3 + bias[i] + 0.6 * offsets[u]) for u in (1, 2, 3) for i in (1, 2)])
    assert carry_over(of, offsets, np.float32(3), bias) == pytest.approx(0.6, rel=1e-5)


def test_nothing_is_carried_over_from_people_without_an_offset() -> None:
    assert carry_over(ratings((1, 1, 5)), np.zeros(2, np.float32), np.float32(3), np.zeros(2, np.float32)) == 0


def test_coordinates_about_raters_and_rated_items_are_damped_means_over_ratings() -> None:
    data = small_pair()
    train, (_, model) = data.target_train, calibrated_models(data)
    tops = (train.stars == train.stars.max()).astype(float)
    agreed = model.item_bias[train.items] * model.residuals(train)
    of_raters, of_rated = (np.log1p(n[rows].astype(float)) for n, rows in (
        (model.user_counts, train.users), (model.item_counts, train.items),
    ))  # fmt: skip
    of_item, of_user = train.items == 7, train.users == train.users[0]
    expected = {
        "rater_spread": (model.user_spread[train.users], of_item, 7),
        "rater_counts": (of_raters - of_raters.mean(), of_item, 7),
        "rated_counts": (of_rated - of_rated.mean(), of_user, train.users[0]),
        "user_tops": (tops - tops.mean(), of_user, train.users[0]),
        "user_agreement": (agreed, of_user, train.users[0]),
    }
    for name, (values, rows, place) in expected.items():
        wanted = values[rows].sum() / (rows.sum() + model.damping(name))
        np.testing.assert_allclose(getattr(model, name)[place], wanted, atol=1e-5, err_msg=name)


def test_effects_are_the_damped_means_of_the_values_that_the_model_gives_its_ratings() -> None:
    data = small_pair()
    train, (_, model) = data.target_train, calibrated_models(data)
    names = ("item_bias", "item_mean", "rater_spread", "rater_counts", "item_spread", "item_weighting")
    for name, values, damping in zip(names, model.of_items(train), model.item_dampings, strict=True):
        again = shrunk_means(train.items, values, data.target_item_count, float(damping))
        np.testing.assert_allclose(again, getattr(model, name), atol=5e-3, err_msg=name)


def test_what_people_who_rate_widely_say_of_an_item_counts_less() -> None:
    """One person gives four stars where everybody else gives two, two where they give four, and so on."""
    given = {1: (4, 2, 5, 1), **dict.fromkeys(range(2, 6), (2, 4, 3, 3))}
    model = fit(ratings(*((user, item, s) for user, stars in given.items() for item, s in enumerate(stars, 1))), 5, 4)
    assert model.user_spread[1] > 0 > model.user_spread[2:].max()
    weights = rater_weights(model.user_spread, float(model.mean_deviation))
    assert weights[1] < 0.8 < 1 < weights[2:].min()
    weighed = model.target_items().offset - model.mean
    assert weighed[1] < model.item_bias[1] < 0, "as the one who disagrees counts less, the one is liked less,"
    assert weighed[2] > model.item_bias[2] > 0, "and the other one more"


def test_weights_are_bounded_and_one_where_nothing_is_known_of_spreads() -> None:
    spreads = np.array([0.0, 0.5, -0.25, -0.5], np.float32)
    np.testing.assert_allclose(rater_weights(spreads, 0.5), [1, 0.5, 2, 10])
    np.testing.assert_array_equal(rater_weights(np.zeros(2, np.float32), 0.0), 1)


def test_who_is_moved_more_than_others_by_what_others_like_agrees_with_them() -> None:
    """Everybody likes the first items better than the last: half of the people by one star, the others by three."""
    liked = {1: (4, 4, 3, 3), 2: (5, 5, 2, 2)}
    rows = [(user, item, liked[1 + user % 2][item - 1]) for user in range(1, 9) for item in range(1, 5)]
    model = fit(ratings(*rows), 8, 4)
    assert model.user_agreement[[1, 3, 5, 7]].min() > 0.4
    assert model.user_agreement[[2, 4, 6, 8]].max() < -0.4


def test_tops_tell_people_apart_whose_mean_rating_is_the_same() -> None:
    rows = [(u, i, s) for u in range(1, 9) for i, s in enumerate(((5, 3, 5, 3), (4, 4, 4, 4))[u % 2], 1)]
    model = fit(ratings(*rows), 8, 4)
    np.testing.assert_allclose(model.user_offset, 0, atol=1e-6)
    # Within people tops vary by 4 / 24; between them by 2, less what noise of seven would give, over 28.
    damping = (4 / 24) / ((2 - 7 * 4 / 24) / 28)
    np.testing.assert_allclose(model.user_tops[1:], np.tile([-1, 1], 4) / (4 + damping), rtol=1e-5)
    assert (model.highest, model.top_share) == (5, 0.25)


def test_a_model_as_older_versions_stored_it_reads_no_more_than_they_did() -> None:
    source, target = calibrated_models(small_pair())
    later = ("item_weighting", "user_tops", "user_agreement", "highest", "top_share")

    def older(model: CalibratedModel) -> CalibratedModel:
        tensors = {name: tensor for name, tensor in model.tensors().items() if name not in later}
        return CalibratedModel.from_tensors({**tensors, "dampings": model.dampings[:8]})

    without = older(target)
    np.testing.assert_array_equal(without.target_items().offset, without.mean + without.item_bias)
    coordinates = SourceCoordinates.of(source)
    space = CalibratedSpace(older(source), replace(coordinates, scale=coordinates.scale[:-2]))
    train = small_pair().source
    now = CalibratedSpace(source, coordinates).fold_in(train, small_pair().user_count)
    np.testing.assert_array_equal(space.fold_in(train, small_pair().user_count), now[:, :-2])


def test_the_simple_baselines_are_their_formulas() -> None:
    data = small_pair()
    train, test = data.target_train, data.target_test
    mean = train.stars.astype(float).mean()
    of_item = [train.stars[train.items == item] - mean for item in range(data.target_item_count + 1)]
    bias = np.array([residuals.sum() / (len(residuals) + 5) for residuals in of_item])
    offset = source_offsets(data).astype(float)
    bridge = data.bridge_ratings
    known = offset[bridge.users]
    share = known @ (bridge.stars - mean - bias[bridge.items]) / (known @ known)
    damping = VarianceComponents.of(train.items, train.stars - mean, data.target_item_count).damping
    estimated = np.array([residuals.sum() / (len(residuals) + damping) for residuals in of_item])
    expected = {
        "global_mean": np.full(len(test), mean),
        "item_mean": mean + estimated[test.items],
        "source_offset_fixed": mean + bias[test.items] + share * offset[test.users],
    }
    found = {method.name: method.score(test) for method in (*simple_baselines(data), source_offset_fixed(data))}
    assert found.keys() == expected.keys() | {"source_offset"}
    for name, scores in expected.items():
        np.testing.assert_allclose(found[name], scores, rtol=1e-5, err_msg=name)
    assert share > 0.3, "harshness was planted in both domains"


def test_no_test_rating_moves_a_baseline() -> None:
    data = small_pair()
    other = small_pair(seed=1).target_test
    for method, again in zip(simple_baselines(data), simple_baselines(replace(data, target_test=other)), strict=True):
        np.testing.assert_array_equal(method.score(data.target_test), again.score(data.target_test))
