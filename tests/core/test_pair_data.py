"""The arrays of a pair are the split's tables."""

import numpy as np
import pytest
from conftest import Lineage
from small_lineage import PAIR, read
from small_pair import small_pair

from ptupcdr_core.data.pair_data import PairData, Ratings, Scale, load_pair, target_item_ids, user_ids
from ptupcdr_core.store.warehouse import Warehouse


@pytest.fixture(scope="module")
def data(lineage: Lineage) -> PairData:
    return load_pair(Warehouse(lineage.home.warehouse), PAIR)


def rows(ratings: Ratings) -> list[tuple[int, int, float]]:
    return list(zip(ratings.users.tolist(), ratings.items.tolist(), ratings.stars.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("source", "split_source_ratings"),
        ("target_train", "split_target_ratings where part = 'train'"),
        ("target_validation", "split_target_ratings where part = 'validation'"),
        ("target_test", "split_target_ratings where part = 'test'"),
    ],
)
def test_ratings_are_the_tables_rows_in_order(lineage: Lineage, data: PairData, name: str, query: str) -> None:
    expected = read(lineage.home, "domain_splits", f"select user_index, item_index, rating from {query}")
    found: Ratings = getattr(data, name)
    assert rows(found) == sorted(expected)
    assert (found.users.dtype, found.items.dtype, found.stars.dtype) == (np.int32, np.int32, np.float32)


def test_sizes_and_scales(lineage: Lineage, data: PairData) -> None:
    query = """select (select count(*) from split_users), (select count(*) from split_source_items),
               (select count(*) from split_target_items)"""
    assert read(lineage.home, "domain_splits", query) == [
        (data.user_count, data.source_item_count, data.target_item_count)
    ]
    assert data.source_scale == data.target_scale == Scale(1, 5)
    assert data.pair == PAIR


def test_cohorts_are_everybody_once(data: PairData) -> None:
    everybody = np.concatenate(list(data.cohorts.values()))
    assert np.sort(everybody).tolist() == list(range(1, data.user_count + 1))
    assert all((np.diff(users) > 0).all() for users in data.cohorts.values())
    assert data.cold_users.tolist() == sorted(data.cohorts["cold"].tolist() + data.cohorts["test"].tolist())


def test_histories_stand_in_their_places_and_padding_at_the_end(lineage: Lineage, data: PairData) -> None:
    assert data.histories.shape == data.history_stars.shape == (data.user_count + 1, lineage.settings.history_length)
    query = "select user_index, position, item_index, rating from split_histories"
    stored = read(lineage.home, "domain_splits", query)
    for user, position, item, stars in stored:
        assert (data.histories[user, position], data.history_stars[user, position]) == (item, stars)
    assert (data.histories > 0).sum() == (data.history_stars > 0).sum() == len(stored)
    assert (np.diff((data.histories > 0).astype(int), axis=1) <= 0).all()
    assert not data.histories[0].any()


def test_ids_stand_at_their_indices(lineage: Lineage, data: PairData) -> None:
    warehouse = Warehouse(lineage.home.warehouse)
    for ids, table, kind, count in (
        (user_ids(warehouse, data), "split_users", "user", data.user_count),
        (target_item_ids(warehouse, PAIR), "split_target_items", "item", data.target_item_count),
    ):
        assert (len(ids), ids[0]) == (count + 1, "")
        for index, name in read(lineage.home, "domain_splits", f"select {kind}_index, {kind}_id from {table}"):
            assert ids[index] == name


def test_bridge_ratings_are_those_of_bridge_users() -> None:
    data = small_pair()
    bridge = set(data.cohorts["bridge"].tolist())
    assert rows(data.bridge_ratings) == [row for row in rows(data.target_train) if row[0] in bridge]
    assert 0 < len(data.bridge_ratings) < len(data.target_train)


def test_a_scale_clips_to_its_ends_and_keeps_the_type() -> None:
    clipped = Scale(0.5, 5).clip(np.array([-1, 0.5, 3, 9], np.float32))
    assert clipped.tolist() == [0.5, 0.5, 3, 5]
    assert clipped.dtype == np.float32
