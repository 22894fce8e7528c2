"""Promotion: what is deployed is what was measured, and only a model that is at least as good replaces another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Lineage
from small_lineage import PAIR, domains, run

from ptupcdr_core.experiments.readout import read_evaluation
from ptupcdr_core.gate.decision import LEAST_USERS, Comparison, decide, held_out_ratings
from ptupcdr_core.gate.judged import Judged
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.deployed import CANDIDATE, bundle_file
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


@pytest.fixture(scope="module")
def model(lineage: Lineage) -> Judged:
    return Judged.of(lineage.home, PAIR, trained(lineage.home))


def trained(home: Home) -> BundledMode:
    """The bundle's mode for ratings as it was trained."""
    return Bundle.load(bundle_file(home, CANDIDATE, PAIR)).modes["rating"]


def scaled(model: Judged, factor: float) -> Judged:
    """A model that says factor times what sets a user apart from the item mean; -1: the opposite."""
    return replace(model, embeddings=np.float32(factor) * model.embeddings)


def test_what_is_deployed_is_what_was_evaluated(lineage: Lineage, model: Judged) -> None:
    ratings = held_out_ratings(lineage.home, PAIR)
    errors = model.scores(ratings) - ratings["rating"]
    expected = read_evaluation(lineage.home, PAIR).set_index("method").loc["ptupcdr"]
    assert len(ratings) == expected["ratings"]
    assert np.abs(errors).mean() == pytest.approx(expected["mae_of_mean"], abs=1e-6)
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(expected["rmse"], abs=1e-6)


@pytest.mark.parametrize("mode", ["rating", "ranking"])
@pytest.mark.parametrize(
    ("worse_by", "p", "as_good"),
    [
        (-0.1, 0.001, True),  # better
        (0.0, 1.0, True),  # the same
        (0.5, 0.3, True),  # a little worse, maybe by chance
        (0.5, 0.01, False),  # a little worse, certainly
        (2, 0.3, False),  # too few users to be sure, but too much to let pass
        (1e-5, 0.01, True),  # float32 rounding
    ],
)
def test_at_least_as_good_is_neither_much_worse_nor_certainly_worse(
    mode: Mode, worse_by: float, p: float, as_good: bool
) -> None:
    """Worse by how many times the tolerance: of errors more is worse, of NDCG less."""
    worse = {"rating": 1, "ranking": -1}[mode] * worse_by * MODES[mode].criterion.tolerance
    assert Comparison(mode, "other", 100, 1000, 1.0 + worse, 1.0, 0.0, 0.0, p).as_good is as_good


def test_the_first_model_needs_to_beat_the_strongest_baseline_only(lineage: Lineage, model: Judged) -> None:
    decision = decide(lineage.home, PAIR, {"rating": model}, {})
    evaluation = read_evaluation(lineage.home, PAIR).set_index("method")["rmse"]
    strongest = evaluation[evaluation.index.isin(MODES["rating"].criterion.baselines)].idxmin()
    [comparison] = decision.comparisons
    assert comparison.against == strongest
    assert comparison.other == pytest.approx(evaluation[strongest])
    assert comparison.candidate == pytest.approx(evaluation["ptupcdr"], abs=1e-6)
    assert decision.promoted
    assert f"at least as good as {strongest}" in decision.reason


def test_a_broken_model_is_not_promoted_though_nothing_is_in_use(lineage: Lineage, model: Judged) -> None:
    decision = decide(lineage.home, PAIR, {"rating": scaled(model, -1)}, {})
    assert not decision.promoted
    assert "worse than" in decision.reason


def test_a_worse_model_does_not_replace_the_champion_and_a_better_one_does(lineage: Lineage, model: Judged) -> None:
    weaker = scaled(model, 0.6)
    worse, better = (
        decide(lineage.home, PAIR, {"rating": candidate}, {"rating": champion})
        for candidate, champion in ((weaker, model), (model, weaker))
    )
    assert [comparison.as_good for comparison in worse.comparisons] == [True, False], "the baseline alone is beaten"
    assert not worse.promoted
    assert "worse than champion" in worse.reason
    assert [comparison.as_good for comparison in better.comparisons] == [True, True]
    assert better.promoted
    assert worse.comparisons[1].candidate == better.comparisons[1].other


def test_a_model_is_as_good_as_itself(lineage: Lineage, model: Judged) -> None:
    decision = decide(lineage.home, PAIR, {"rating": model}, {"rating": model})
    assert decision.comparisons[1].p == 1
    assert decision.promoted


def test_after_the_split_changed_only_users_whom_neither_was_trained_on_count(
    lineage: Lineage, model: Judged, tmp_path: Path
) -> None:
    """A larger β holds out more users; the old model was trained on some of them, which would flatter it."""
    home, settings = Home(tmp_path), lineage.settings.model_copy(update={"beta": 0.4})
    run(home, domains(lineage.files), settings)
    decision = decide(home, PAIR, {"rating": Judged.of(home, PAIR, trained(home))}, {"rating": model})
    assert decision.comparisons[0].users > decision.comparisons[1].users == int(model.held_out.sum())
    expected = read_evaluation(lineage.home, PAIR).set_index("method").loc["ptupcdr"]
    assert decision.comparisons[1].ratings == expected["ratings"]
    assert decision.comparisons[1].other == pytest.approx(expected["rmse"], abs=1e-6)


def test_a_champion_that_shares_too_few_held_out_users_is_not_compared(lineage: Lineage, model: Judged) -> None:
    few = np.flatnonzero(model.held_out)[: LEAST_USERS - 1]
    held_out = np.zeros_like(model.held_out)
    held_out[few] = True
    decision = decide(lineage.home, PAIR, {"rating": model}, {"rating": replace(model, held_out=held_out)})
    assert len(decision.comparisons) == 1
    assert f"cannot be compared: only {LEAST_USERS - 1} of the present test users" in decision.reason
    assert decision.promoted


def test_a_champion_that_does_not_know_some_items_is_compared_on_the_others(lineage: Lineage, model: Judged) -> None:
    known = len(model.items) * 3 // 4
    smaller = replace(
        model,
        items=model.items[:known],
        target=replace(model.target, vectors=model.target.vectors[:known], offset=model.target.offset[:known]),
    )
    baseline, champion = decide(lineage.home, PAIR, {"rating": model}, {"rating": smaller}).comparisons
    assert 0 < champion.ratings < baseline.ratings
    assert champion.candidate == champion.other, "on these it is the same model"


USERS, ITEMS = 72, 12
"""User u took item u modulo 12 and gave it 4 stars. Popularity's NDCG@10 is a half, the baselines' RMSE 1."""


@pytest.fixture
def by_hand(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    warehouse = Warehouse(home.warehouse)
    with warehouse.write("domain_splits", PAIR) as connection:
        connection.execute(f"""
            create table split_summary as select 1 as overlapping_read, 1 as others_read;
            create table split_users as select i as user_index, 'u' || i as user_id from range({USERS}) t(i);
            create table split_target_items as select i as item_index, 'i' || i as item_id from range({ITEMS}) t(i);
            create table split_target_ratings as
                select i as user_index, i % {ITEMS} as item_index, 4.0::float as rating, 'test' as part
                from range({USERS}) t(i);
        """)
    with warehouse.write("cold_start_evaluation", PAIR) as connection:
        connection.execute(f"""
            create table cold_start_errors as
                select method, 'rating' as mode, 'u' || i as user_id, 1 as ratings, error as absolute_error,
                    error ** 2 as squared_error
                from range({USERS}) t(i), (values ('item_mean', 2.0), ('source_offset', 1.0)) m(method, error);
            create table cold_start_rankings as
                select method, 'ranking' as mode, 'u' || i as user_id, 1 as ratings, ndcg_at_10
                from range({USERS}) t(i), (values ('popularity', 0.5), ('item_knn', 0.9)) m(method, ndcg_at_10);
        """)
    return home


def made(embeddings: np.ndarray, vectors: np.ndarray, offset: float) -> Judged:
    return Judged(
        users=np.array([f"u{user}" for user in range(USERS)], dtype=object),
        held_out=np.ones(USERS, bool),
        embeddings=embeddings.astype(np.float32),
        items=np.array([f"i{item}" for item in range(ITEMS)], dtype=object),
        target=TargetItems(vectors.astype(np.float32), np.full(ITEMS, offset, np.float32)),
        scale=None,
    )


def rates(error: float) -> Judged:
    """Wrong by so many stars about everybody."""
    return made(np.zeros((USERS, 1)), np.zeros((ITEMS, 1)), 4 + error)


def ranks(*places: int) -> Judged:
    """The item that a user took stands in these places of the lists, turn by turn; i11 is the first of the others."""
    scores = np.zeros((USERS, ITEMS))
    for user in range(USERS):
        order = [item for item in reversed(range(ITEMS)) if item != user % ITEMS]
        order.insert(places[user % len(places)] - 1, user % ITEMS)
        scores[user, order] = ITEMS - np.arange(ITEMS)
    return made(scores, np.eye(ITEMS), 0)


def test_lists_are_judged_by_their_ndcg_against_popularity(by_hand: Home) -> None:
    """In the first place an item gains 1, in the third 1 / log2(4); nothing beyond the tenth."""
    assert ranks(1, 3, 11).rankings(held_out_ratings(by_hand, PAIR))["ndcg_at_10"].value_counts().to_dict() == {
        1.0: 24,
        0.5: 24,
        0.0: 24,
    }
    better, worse = (decide(by_hand, PAIR, {"rating": rates(0.1), "ranking": ranks(*p)}, {}) for p in ((1, 3), (3, 7)))
    assert better.own == pytest.approx({"rmse": 0.1, "ndcg_at_10": 0.75})
    assert [c.against for c in better.comparisons] == ["source_offset", "popularity"]
    assert [c.other for c in better.comparisons] == [1.0, 0.5]
    assert better.promoted
    assert "NDCG@10 0.7500, at least as good as popularity (0.5000; p =" in better.reason
    assert (worse.let_through("rating"), worse.let_through("ranking")) == (True, False)
    assert "RMSE 0.1000, at least as good as source_offset" in worse.reason
    assert "NDCG@10 0.4167, worse than popularity (0.5000; p =" in worse.reason


def test_better_ratings_do_not_make_up_for_worse_lists(by_hand: Home) -> None:
    champion = {"rating": rates(0.5), "ranking": ranks(1)}
    decision = decide(by_hand, PAIR, {"rating": rates(0.1), "ranking": ranks(1, 1, 1, 3)}, champion)
    assert [(c.mode, c.as_good) for c in decision.comparisons] == [
        ("rating", True), ("rating", True), ("ranking", True), ("ranking", False)
    ]  # fmt: skip
    assert (decision.let_through("rating"), decision.let_through("ranking")) == (True, False)
    assert "RMSE 0.1000, at least as good as champion (0.5000" in decision.reason
    assert "NDCG@10 0.8750, worse than champion (1.0000" in decision.reason
    nor = decide(by_hand, PAIR, champion, {"rating": rates(0.1), "ranking": ranks(1, 3)})
    assert (nor.let_through("rating"), nor.let_through("ranking")) == (False, True), "nor lists"


def test_lists_that_are_worse_by_chance_are_as_good(by_hand: Home) -> None:
    once = ranks(*[1] * (USERS - 1), 2)
    decision = decide(
        by_hand, PAIR, {"rating": rates(0.1), "ranking": once}, {"rating": rates(0.1), "ranking": ranks(1)}
    )
    assert decision.comparisons[-1].candidate == pytest.approx(1 - (1 - 1 / np.log2(3)) / USERS)
    assert decision.comparisons[-1].p > 0.3
    assert decision.promoted


def test_what_only_one_of_two_models_has_is_not_compared(by_hand: Home) -> None:
    rating, both = {"rating": rates(0.1)}, {"rating": rates(0.1), "ranking": ranks(1, 3)}
    now_ranks, ranked_before = decide(by_hand, PAIR, both, rating), decide(by_hand, PAIR, rating, both)
    assert [c.against for c in now_ranks.comparisons] == ["source_offset", "champion", "popularity"]
    assert now_ranks.reason.endswith("the champion has no ranked lists to compare with")
    assert [c.against for c in ranked_before.comparisons] == ["source_offset", "champion"]
    assert ranked_before.reason.endswith("the champion's ranked lists were not compared: this model has none")
    assert now_ranks.promoted
    assert ranked_before.promoted
    assert decide(by_hand, PAIR, both, {}, "none").notes == ("none",)


def test_lists_of_two_models_are_compared_out_of_items_that_both_know(by_hand: Home) -> None:
    """Everybody's list begins with i11, which the champion does not know."""
    candidate = {"rating": rates(0.1), "ranking": ranks(2)}
    known = np.array([f"i{item}" for item in range(ITEMS // 2)], dtype=object)
    champion = {mode: model.among(known) for mode, model in {"rating": rates(0.1), "ranking": ranks(1)}.items()}
    *_, popularity, compared = decide(by_hand, PAIR, candidate, champion).comparisons
    assert popularity.candidate == pytest.approx(1 / np.log2(3))
    assert (compared.users, compared.candidate, compared.other) == (USERS // 2, 1, 1)
    for few in (known[:4], known[:0]):
        champion = {mode: model.among(few) for mode, model in champion.items()}
        decision = decide(by_hand, PAIR, candidate, champion)
        [note] = decision.notes
        assert note.startswith(f"the champion cannot be compared: only {6 * len(few)} of the present test users")
