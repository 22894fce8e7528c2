"""Users who judge the parts of lists: as many as possible, and none whose ratings the judged part was trained on."""

from dataclasses import replace

import numpy as np
import pytest
from companions import Shop, purchases
from planted_parts import group_of

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.evaluation.rankings import rank_by_vectors
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.modes.ranking.judges import GROUPS, LEAST, SHARE, WANTED, Offer, Panel, further_splits

SMALL = replace(Shop(), bridge=200, validation=30, test=10, source_only=50, target_only=50)


@pytest.fixture(scope="module")
def data() -> PairData:
    return purchases(SMALL, seed=0)


def test_groups_are_other_bridge_users_whose_target_ratings_leave_the_split(data: PairData) -> None:
    splits = list(further_splits(data, seed=1))
    assert len(splits) == GROUPS
    judges = [split.cohorts["validation"] for split in splits]
    assert len(np.unique(np.concatenate(judges))) == GROUPS * (200 // SHARE)
    for split, users in zip(splits, judges, strict=True):
        assert np.isin(users, data.cohorts["bridge"]).all()
        assert sorted([*split.cohorts["bridge"], *users]) == data.cohorts["bridge"].tolist()
        assert not np.isin(split.target_train.users, users).any()
        assert np.unique(split.target_validation.users).tolist() == users.tolist()
        assert len(split.target_train) + len(split.target_validation) == len(data.target_train)
        assert split.source is data.source, "what they took in the source is known"
        assert split.target_test is data.target_test


def test_enough_validation_users_need_no_help(data: PairData) -> None:
    many = purchases(replace(SMALL, validation=WANTED), seed=0)
    assert not list(further_splits(many, seed=1))
    nearly = purchases(replace(SMALL, validation=WANTED - 3 * LEAST), seed=0)
    assert [len(split.cohorts["validation"]) for split in further_splits(nearly, seed=1)] == [LEAST] * 3


def test_a_pair_of_a_few_bridge_users_is_judged_by_validation_users_alone() -> None:
    assert not list(further_splits(purchases(replace(SMALL, bridge=SHARE * LEAST - 1), seed=0), seed=1))


def test_each_judge_is_measured_on_its_own_by_its_own_groups_scores(data: PairData) -> None:
    groups = [group_of(split) for split in (data, *further_splits(data, seed=1))]
    panel = Panel.of(groups)
    assert (np.diff(panel.users) > 0).all()
    scores = panel.stack(group.bridged @ group.items.T for group in groups)
    losses = panel.losses([Offer(1.0, scores)])
    for group in groups:
        target = TargetItems(group.items, np.zeros(len(group.items), np.float32))
        own = rank_by_vectors(target, group.bridged, group.users, group.relevant).values
        expected = 1 - (own["ndcg_at_10"] + own["ndcg_at_50"]) / 2
        np.testing.assert_allclose(losses[np.searchsorted(panel.users, group.users)], expected)
    places = panel.of_first(7)
    assert len(places) == 7
    assert panel.users[panel.rows(places)].tolist() == groups[0].users[places].tolist()
