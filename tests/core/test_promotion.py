"""Promotion: what is deployed is what was measured, and only what is at least as good takes another's place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Lineage
from small_lineage import PAIR, domains, read, run

from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.evaluation import promotion
from ptupcdr_core.evaluation.promotion import LEAST_USERS, TOLERANCE, Comparison, decide, held_out_ratings
from ptupcdr_core.evaluation.readout import read_evaluation
from ptupcdr_core.home import Home
from ptupcdr_core.pair_data import Scale
from ptupcdr_core.snapshot import Snapshot


@pytest.fixture(scope="module")
def model(lineage: Lineage) -> Snapshot:
    return Snapshot.take(lineage.home, PAIR, "rating")


def scaled(model: Snapshot, factor: float) -> Snapshot:
    """A model that says factor times what sets a user apart from the item mean; -1: the opposite."""
    return replace(model, embeddings=np.float32(factor) * model.embeddings)


def test_what_is_deployed_is_what_was_evaluated(lineage: Lineage, model: Snapshot) -> None:
    ratings = held_out_ratings(lineage.home, PAIR)
    errors = model.scores(ratings) - ratings["rating"]
    expected = read_evaluation(lineage.home, PAIR).set_index("method").loc["ptupcdr"]
    assert len(ratings) == expected["ratings"]
    assert np.abs(errors).mean() == pytest.approx(expected["mae"], abs=1e-6)
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(expected["rmse"], abs=1e-6)


def test_a_snapshot_has_all_cold_users_and_items_and_comes_back_as_it_was(
    lineage: Lineage, model: Snapshot, tmp_path: Path
) -> None:
    users = read(lineage.home, "domain_splits", "select user_id, cohort = 'test' from split_users where cohort in "
                 "('cold', 'test') order by user_id")  # fmt: skip
    assert list(zip(model.users, model.held_out, strict=True)) == users
    items = read(lineage.home, "domain_splits", "select item_id from split_target_items order by item_index")
    assert [(item,) for item in model.items] == items
    model.save(tmp_path / "files")
    assert {file.suffix for file in (tmp_path / "files").iterdir()} == {".safetensors", ".json"}
    again = Snapshot.load(tmp_path / "files")
    ratings = held_out_ratings(lineage.home, PAIR)
    np.testing.assert_array_equal(again.scores(ratings), model.scores(ratings))
    np.testing.assert_array_equal(again.made_by, model.made_by)
    assert again.knows(ratings, held_out=True).all()
    assert again.scale == model.scale == Scale(1, 5)


def test_a_snapshot_that_is_damaged_or_missing_is_refused(model: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a snapshot of a pair"):
        Snapshot.load(tmp_path)
    model.save(tmp_path)
    (tmp_path / "snapshot.safetensors").write_bytes(b"half")
    with pytest.raises(ArtifactError, match="not a snapshot of a pair"):
        Snapshot.load(tmp_path)


@pytest.mark.parametrize(
    ("candidate", "p", "as_good"),
    [
        (0.9, 0.001, True),  # better
        (1.0, 1.0, True),  # the same
        (1.0 + TOLERANCE / 2, 0.3, True),  # a little worse, maybe by chance
        (1.0 + TOLERANCE / 2, 0.01, False),  # a little worse, certainly
        (1.0 + TOLERANCE * 2, 0.3, False),  # too few users to be sure, but too much to let pass
        (1.0 + 1e-8, 0.01, True),  # float32 rounding
    ],
)
def test_at_least_as_good_is_neither_much_worse_nor_certainly_worse(candidate: float, p: float, as_good: bool) -> None:
    assert Comparison("other", 100, 1000, candidate, 1.0, 0.0, 0.0, p).as_good is as_good


def test_the_first_model_needs_to_beat_the_strongest_baseline_only(lineage: Lineage, model: Snapshot) -> None:
    decision = decide(lineage.home, PAIR, model, "rating", None)
    evaluation = read_evaluation(lineage.home, PAIR).set_index("method")["rmse"]
    strongest = evaluation[list(promotion.BASELINES)].idxmin()
    [comparison] = decision.comparisons
    assert comparison.against == strongest
    assert comparison.other == pytest.approx(evaluation[strongest])
    assert comparison.candidate == pytest.approx(evaluation["ptupcdr"], abs=1e-6)
    assert decision.promoted
    assert f"at least as good as {strongest}" in decision.reason


def test_a_broken_model_is_not_promoted_though_nothing_is_in_use(lineage: Lineage, model: Snapshot) -> None:
    decision = decide(lineage.home, PAIR, scaled(model, -1), "rating", None)
    assert not decision.promoted
    assert "worse than" in decision.reason


def test_a_worse_model_does_not_replace_the_champion_and_a_better_one_does(lineage: Lineage, model: Snapshot) -> None:
    weaker = scaled(model, 0.6)
    worse, better = (
        decide(lineage.home, PAIR, candidate, "rating", champion)
        for candidate, champion in ((weaker, model), (model, weaker))
    )
    assert [comparison.as_good for comparison in worse.comparisons] == [True, False], "the baseline alone is beaten"
    assert not worse.promoted
    assert "worse than champion" in worse.reason
    assert [comparison.as_good for comparison in better.comparisons] == [True, True]
    assert better.promoted
    assert worse.comparisons[1].candidate == better.comparisons[1].other


def test_a_model_is_as_good_as_itself(lineage: Lineage, model: Snapshot) -> None:
    decision = decide(lineage.home, PAIR, model, "rating", model)
    assert decision.comparisons[1].p == 1
    assert decision.promoted


def test_after_the_split_changed_only_users_whom_neither_was_trained_on_count(
    lineage: Lineage, model: Snapshot, tmp_path: Path
) -> None:
    """A larger β holds out more users; the old model was trained on some of them, which would flatter it."""
    home, settings = Home(tmp_path), lineage.settings.model_copy(update={"beta": 0.4})
    run(home, domains(lineage.files), settings)
    decision = decide(home, PAIR, Snapshot.take(home, PAIR, "rating"), "rating", model)
    assert decision.comparisons[0].users > decision.comparisons[1].users == int(model.held_out.sum())
    expected = read_evaluation(lineage.home, PAIR).set_index("method").loc["ptupcdr"]
    assert decision.comparisons[1].ratings == expected["ratings"]
    assert decision.comparisons[1].other == pytest.approx(expected["rmse"], abs=1e-6)


def test_a_champion_that_shares_too_few_held_out_users_is_not_compared(lineage: Lineage, model: Snapshot) -> None:
    few = np.flatnonzero(model.held_out)[: LEAST_USERS - 1]
    held_out = np.zeros_like(model.held_out)
    held_out[few] = True
    decision = decide(lineage.home, PAIR, model, "rating", replace(model, held_out=held_out))
    assert len(decision.comparisons) == 1
    assert f"cannot be compared: only {LEAST_USERS - 1} of the present test users" in decision.reason
    assert decision.promoted


def test_a_champion_that_does_not_know_some_items_is_compared_on_the_others(lineage: Lineage, model: Snapshot) -> None:
    known = len(model.items) * 3 // 4
    smaller = replace(
        model,
        items=model.items[:known],
        target=replace(model.target, vectors=model.target.vectors[:known], offset=model.target.offset[:known]),
    )
    baseline, champion = decide(lineage.home, PAIR, model, "rating", smaller).comparisons
    assert 0 < champion.ratings < baseline.ratings
    assert champion.candidate == champion.other, "on these it is the same model"
