"""Lists from several parts: served as brute force over the sum would, with exact reasons, and well chosen."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from companions import Shop, purchases
from planted_parts import CASES, draws

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.data.people import People
from ptupcdr_core.kernels.approximate_search import approximate_top_items
from ptupcdr_core.kernels.exact_search import top_items
from ptupcdr_core.modes.part import Part
from ptupcdr_core.modes.ranking.bridging import RankingTask, ranked_items, train_ranking_bridges
from ptupcdr_core.modes.ranking.joint import JointChoice, choose_joint, train_joint
from ptupcdr_core.modes.ranking.judges import Group, Offer, added_up
from ptupcdr_core.modes.ranking.parts import Parts, forward, popularity, refit_parts, train_parts
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.serving.lists import Search, best_lists
from ptupcdr_core.training.evidence import Losses
from ptupcdr_core.training.implicit import train_factors
from ptupcdr_core.training.item_map import RowKind, fit_item_map, taken

CHOICE = JointChoice(unobserved_weight=0.1, regularization=5.0, size=8)
COMPANIONS = replace(Shop(), companions=1, of_companions=0.8, of_corner=0.0)
"""This item goes with that item, and nothing else carries over."""


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


def trained(data: PairData) -> tuple[RankingSpace, RankingTask, Part]:
    """Both sides and the bridge between them, of eight dimensions; and what serves with the bridge alone."""
    source, target = (
        train_factors(*of, size=8, seed=1, on_epoch=silent, users_last=True)
        for of in (
            (data.source, data.user_count, data.source_item_count),
            (data.target_train, data.user_count, data.target_item_count),
        )
    )
    space = RankingSpace.of(source, data.source)
    task = RankingTask.of(data, space, target)
    bridges = train_ranking_bridges(task, hidden_size=8, seed=0)
    return space, task, Part(space, bridges.personal, ranked_items(target), bridges.mean[0], None)


@pytest.fixture(scope="module")
def data() -> PairData:
    return purchases(replace(Shop(), target_only=300, source_only=300), seed=3)


@pytest.fixture(scope="module")
def served(data: PairData) -> Part:
    """With all parts, none of which is small beside the others."""
    _, _, part = trained(data)
    joint, bridge = train_joint(data, CHOICE, seed=0), data.cohorts["bridge"]
    rows = [
        taken(data.source, data.user_count, data.source_item_count)[bridge],
        taken(data.bridge_ratings, data.user_count, data.target_item_count)[bridge],
    ]
    parts = Parts(0.7, 0.001 * popularity(data), joint, fit_item_map(*rows, RowKind(3.0), strongest=20).scaled(2.0), {})
    return replace(part, target=parts.target(part.target), lists=parts)


@pytest.fixture(scope="module")
def people(data: PairData) -> People:
    """The test users, and one of whom nothing is known."""
    users = data.cohorts["test"][:40]
    source = data.source.of_users(users, data.user_count)
    own = replace(source, users=(np.searchsorted(users, source.users) + 1).astype(np.int32))
    tables = (data.histories[users], data.history_stars[users])
    return People(own, *(np.pad(table, ((1, 1), (0, 0))) for table in tables))


def all_scores(part: Part, people: People) -> np.ndarray:
    """(R, T+1) the sum over all parts, written out."""
    assert part.lists is not None
    assert part.lists.joint is not None
    assert part.lists.item_map is not None
    embeddings, _ = part.embed(people)
    joint = part.lists.joint.fold_in(people.ratings, len(people))[1:]
    rows = taken(people.ratings, len(people), len(part.lists.item_map.offsets) - 2)[1:]
    size = embeddings.shape[1]
    scores = embeddings @ part.target.vectors[:, :size].T + joint @ part.lists.joint.target.T
    scores += part.lists.popularity + rows @ part.lists.item_map.matrix.toarray()
    return np.asarray(scores)


@pytest.mark.parametrize("search", [top_items, approximate_top_items])
def test_served_lists_are_those_of_brute_force_over_the_sum(served: Part, people: People, search: Search) -> None:
    scores = all_scores(served, people)
    scores[:, 0] = -np.inf
    best = np.sort(scores, axis=1)[:, ::-1][:, :10]
    embeddings, _ = served.embed(people)
    nothing = np.zeros(0, np.int64)
    found = np.concatenate([own for _, _, own in best_lists(served, people, embeddings, 10, nothing, search)])
    np.testing.assert_allclose(found, best, rtol=1e-4)


def test_what_people_know_is_left_out_of_the_sum_too(served: Part, people: People) -> None:
    scores = all_scores(served, people)
    scores[:, 0] = -np.inf
    known = np.argsort(-scores, axis=1)[:, :3]
    width = scores.shape[1]
    seen = (np.arange(len(people))[:, None] * width + known).ravel()
    np.put_along_axis(scores, known, -np.inf, axis=1)
    best = np.sort(scores, axis=1)[:, ::-1][:, :10]
    found = np.concatenate([own for _, _, own in best_lists(served, people, served.embed(people)[0], 10, seen)])
    np.testing.assert_allclose(found, best, rtol=1e-4)


def test_a_reason_weighs_by_how_much_the_sum_falls_without_it(served: Part, people: People) -> None:
    scores, items = all_scores(served, people), np.array([[3, 50, 200]] * len(people))
    weights = served.weights(people, items)
    for person, position in ((1, 0), (5, 1), (17, 0)):
        item = people.histories[person, position]
        kept = ~((people.ratings.users == person) & (people.ratings.items == item))
        histories, stars = people.histories.copy(), people.history_stars.copy()
        histories[person, position:-1], histories[person, -1] = people.histories[person, position + 1 :], 0
        stars[person, position:-1], stars[person, -1] = people.history_stars[person, position + 1 :], 0
        without = all_scores(served, People(people.ratings.where(kept), histories, stars))
        fallen = (scores - without)[person - 1, items[0]]
        np.testing.assert_allclose(weights[person - 1, :, position], fallen, rtol=1e-2, atol=1e-4)


def test_companions_are_found_by_the_map_which_then_serves_and_is_fitted_again_alike() -> None:
    data = purchases(COMPANIONS, seed=0)
    _, task, part = trained(data)
    joint = train_joint(data, CHOICE, seed=0)
    parts = train_parts([Group.of(data, task, part.personal, joint)]).with_choices(CHOICE.told())
    assert parts.item_map is not None
    assert parts.joint is None
    assert parts.chosen["list_item_map_certainty"] > 4
    again = refit_parts(data, parts.chosen, seed=0)
    for name, tensor in parts.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], tensor, err_msg=name)


def test_a_bridge_that_shrank_to_nothing_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    data = purchases(Shop(), seed=1)
    _, task, part = trained(data)
    nothing = replace(part.personal, common=part.personal.common * np.float32(1e-3), strength=0.0)
    with caplog.at_level(logging.WARNING):
        parts = train_parts([Group.of(data, task, nothing, train_joint(data, CHOICE, seed=0))])
    assert "shrank everybody" in caplog.text
    assert parts.bridge == 0
    assert parts.chosen["list_popularity_weight"] == 1


def test_joint_factors_are_chosen_on_validation_users_alone() -> None:
    data = purchases(replace(Shop(), source_only=100, target_only=100), seed=4)
    _, choice = choose_joint(data, seed=0)
    nobody = data.target_test.where(np.zeros(len(data.target_test), bool))
    assert choose_joint(replace(data, target_test=nobody), seed=0)[1] == choice
    assert JointChoice.of(choice.told()) == choice


@pytest.mark.parametrize("informed", [(), ("a",), ("b",), ("a", "b")])
def test_parts_that_say_something_are_taken_and_others_are_not(informed: tuple[str, ...]) -> None:
    """Planted scores: what people take follows a common part and those that are informed; the rest is noise."""
    right = 0
    for draw in range(20):
        rng = np.random.default_rng(draw)
        common, parts = rng.normal(size=(200, 101)), {name: rng.normal(size=(200, 101)) for name in "ab"}
        truth = common + sum(parts[name] for name in informed)
        best = np.argsort(-truth, axis=1)[:, :5]

        def losses(parts: Sequence[Offer], best: np.ndarray = best) -> Losses:
            scores = added_up(parts, slice(None))
            ranks = (scores[:, None, :] > np.take_along_axis(scores, best, axis=1)[:, :, None]).sum(2)
            return np.asarray(1 - (1 / np.log2(ranks + 2)).mean(1))

        offers = {name: [Offer(weight, own.astype(np.float32)) for weight in (0.5, 1.0)] for name, own in parts.items()}
        found, _, _ = forward(losses, Offer(1.0, common.astype(np.float32)), offers)
        right += set(found) == set(informed)
    assert right >= 19


@pytest.mark.parametrize("name", ["none", "item to item", "personal"])
def test_the_right_parts_are_taken_where_it_is_known_which_say_something(name: str) -> None:
    """One draw each; ``make evidence`` draws a hundred, of further cases too."""
    case = CASES[name]
    [found] = draws(case, 1)
    assert case.right <= found <= case.right | case.may
