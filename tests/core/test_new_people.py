"""People who arrive after training are served as those before them, with reasons that say what their ratings did."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from conftest import Lineage
from small_lineage import PAIR, read

from ptupcdr_core.data.newcomers import newcomers, read_history_file
from ptupcdr_core.data.pair_data import load_pair
from ptupcdr_core.data.people import people_of
from ptupcdr_core.errors import SettingsError, SourceError
from ptupcdr_core.modes.rating.checkpoints import load_bridge_task
from ptupcdr_core.serving.bundle import NewPeople
from ptupcdr_core.serving.deployed import deployed_bundle, recommend, recommend_new
from ptupcdr_core.store.warehouse import Warehouse

K = 5


@pytest.fixture(scope="module")
def table(lineage: Lineage) -> pa.Table:
    """The source ratings of the first 40 cold-start users, as if nobody had seen them yet."""
    columns = "user_id, item_id, rating, timestamp"
    rows = read(
        lineage.home,
        "domain_splits",
        f"select {columns} from split_source_ratings join split_source_items using (item_index) join split_users "
        "using (user_index) where user_id in (select user_id from split_users where cohort in ('cold', 'test') "
        "order by user_id limit 40) or user_id = 'untold' order by hash(user_id, item_id)",
    )
    return pa.table(dict(zip(columns.split(", "), map(list, zip(*rows, strict=True)), strict=True)))


@pytest.fixture(params=["lineage", "published_lineage"])
def either(request: pytest.FixtureRequest) -> Lineage:
    return request.getfixturevalue(request.param)


def of(table: pa.Table, *users: str) -> pa.Table:
    return table.filter(pc.is_in(table["user_id"], pa.array(users)))


def first_told(answer: NewPeople) -> str:
    return str(answer.user_ids[np.flatnonzero(answer.made_by == "bridge")[0]])


def test_their_ratings_and_histories_are_those_of_the_split(lineage: Lineage, table: pa.Table) -> None:
    warehouse, data = Warehouse(lineage.home.warehouse), load_pair(Warehouse(lineage.home.warehouse), PAIR)
    served = deployed_bundle(lineage.home, PAIR).modes["rating"]
    new = newcomers(table, served.source_ids, served.reading)
    rows = read(lineage.home, "domain_splits", "select user_id, user_index from split_users")
    users = np.array([dict(rows)[user] for user in new.user_ids.to_pylist()], np.int32)
    split = people_of(warehouse, PAIR, users, data.histories.shape[1], served.reading.positive_above)
    for people in (new.people, split):
        np.testing.assert_array_equal(people.histories[1:], data.histories[users])
        np.testing.assert_array_equal(people.history_stars[1:], data.history_stars[users])
    for mine, theirs in zip(vars(new.people.ratings).values(), vars(split.ratings).values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert new.known_items.sum() == len(table)


def test_who_was_in_training_gets_the_same_embedding_and_list(lineage: Lineage, table: pa.Table) -> None:
    answer = recommend_new(lineage.home, PAIR, table, K)
    stored = read(lineage.home, "bridged_embeddings", "select user_id, embedding, made_by from bridged_embeddings")
    embeddings = {user: np.array(embedding) for user, embedding, _ in stored}
    made_by = {user: maker for user, _, maker in stored}
    assert [made_by[user] for user in answer.user_ids] == answer.made_by.tolist()
    for user, folded in zip(answer.user_ids, answer.embeddings, strict=True):
        own = embeddings[user]
        np.testing.assert_allclose(folded, own, atol=1e-5)
    lists = read(lineage.home, "recommendations", f"select user_id, item_id from recommendations where rank <= {K}")
    mine = set(zip(*(answer.recommendations[name].to_pylist() for name in ("user_id", "item_id")), strict=True))
    assert mine <= set(lists)


def test_a_weight_is_what_the_score_loses_without_the_rating(either: Lineage, table: pa.Table) -> None:
    """Exactly: the person is folded in and bridged once more, having never rated the item."""
    rows = recommend_new(either.home, PAIR, table, K).recommendations.to_pylist()
    [(told, _)] = Counter(row["user_id"] for row in rows for _ in row["reasons"]).most_common(1)
    answer = recommend_new(either.home, PAIR, of(table, told), K)
    # Of a longer history, one that is too old to count would move up.
    assert pc.sum(pc.greater(of(table, told)["rating"], 3)).as_py() <= either.settings.history_length
    target = deployed_bundle(either.home, PAIR).modes["rating"].part.target
    ids = [item for (item,) in read(either.home, "domain_splits", "select item_id from split_target_items order by 1")]
    checked = 0
    for row in answer.recommendations.to_pylist():
        vector = target.vectors[1 + ids.index(row["item_id"])]
        assert row["reason_weights"] == sorted(row["reason_weights"], reverse=True)
        for reason, weight in zip(row["reasons"], row["reason_weights"], strict=True):
            others = of(table, told).filter(pc.not_equal(of(table, told)["item_id"], reason))
            again = recommend_new(either.home, PAIR, others, 1)
            assert weight > 0
            assert weight == pytest.approx(float((answer.embeddings[0] - again.embeddings[0]) @ vector), abs=1e-3)
            checked += 1
    assert checked >= K


def test_several_at_once_are_served_as_each_alone(either: Lineage, table: pa.Table) -> None:
    together = recommend_new(either.home, PAIR, table, K)
    for place, user in enumerate(together.user_ids[:5]):
        alone = recommend_new(either.home, PAIR, of(table, user), K)
        np.testing.assert_allclose(alone.embeddings[0], together.embeddings[place], rtol=1e-4, atol=1e-5)
        rows = together.recommendations.filter(pc.equal(together.recommendations["user_id"], user))
        assert rows["item_id"].to_pylist() == alone.recommendations["item_id"].to_pylist()
        assert rows["reasons"].to_pylist() == alone.recommendations["reasons"].to_pylist()


def test_unknown_items_are_counted_and_change_nothing(lineage: Lineage, table: pa.Table) -> None:
    told = first_told(recommend_new(lineage.home, PAIR, table, 1))
    mine = of(table, told)
    strange = pa.table({"user_id": [told] * 2, "item_id": ["x", "y"], "rating": [5.0, 1.0], "timestamp": [9e9, 9e9]})
    both = pa.concat_tables([mine, strange.cast(mine.schema)])
    before, after = (recommend_new(lineage.home, PAIR, ratings, K) for ratings in (mine, both))
    np.testing.assert_array_equal(before.embeddings, after.embeddings)
    assert before.recommendations.equals(after.recommendations)
    assert (after.known_items.tolist(), after.unknown_items.tolist()) == ([len(mine)], [2])


def test_without_a_known_rating_the_average_target_user_answers_and_says_so(either: Lineage) -> None:
    strange = pa.table({"user_id": ["stranger"], "item_id": ["never-heard-of"], "rating": [5.0]})
    answer = recommend_new(either.home, PAIR, strange, K, users=["silent"])
    assert answer.user_ids.tolist() == ["silent", "stranger"]
    assert answer.made_by.tolist() == ["mean", "mean"]
    assert answer.unknown_items.tolist() == [0, 1]
    trained = read(
        either.home, "domain_splits", "select user_index from split_users where cohort in ('bridge', 'target_only')"
    )
    task = load_bridge_task(either.home, load_pair(Warehouse(either.home.warehouse), PAIR))
    mean = task.target_user_vectors[[user for (user,) in trained]].mean(0)
    np.testing.assert_allclose(answer.embeddings, [mean, mean], atol=1e-5)
    assert not any(answer.recommendations["bridged"].to_pylist())
    assert answer.recommendations["reasons"].to_pylist() == [[]] * (2 * K)


def test_people_who_like_nothing_get_the_common_bridge(lineage: Lineage, table: pa.Table) -> None:
    answer = recommend_new(lineage.home, PAIR, of(table, "untold"), K)
    assert answer.made_by.tolist() == ["common_bridge"]
    assert set(answer.recommendations["cohort"].to_pylist()) == {"new"}


def test_what_they_have_seen_is_left_out(lineage: Lineage, table: pa.Table) -> None:
    told = first_told(recommend_new(lineage.home, PAIR, table, 1))
    free = recommend_new(lineage.home, PAIR, of(table, told), K + 2).recommendations["item_id"].to_pylist()
    seen = pa.table({"user_id": [told, told, "other"], "item_id": [free[0], free[3], free[1]]})
    left = recommend_new(lineage.home, PAIR, of(table, told), K, seen=seen).recommendations
    assert left["item_id"].to_pylist() == [free[1], free[2], *free[4 : K + 2]]
    assert left["rank"].to_pylist() == [*range(1, K + 1)]
    ((items,),) = read(lineage.home, "domain_splits", "select count(*) from split_target_items")
    everything = recommend_new(lineage.home, PAIR, of(table, told), items + 5, seen=seen).recommendations
    assert len(everything) == items - 2


def test_a_recommendation_has_the_tables_reasons(either: Lineage) -> None:
    query = "select user_id from recommendations where bridged and len(reasons) > 1 order by user_id limit 1"
    ((user,),) = read(either.home, "recommendations", query)
    rows = read(
        either.home,
        "recommendations",
        f"select reasons, reason_weights from recommendations where user_id = '{user}' order by rank limit {K}",
    )
    answers = recommend(either.home, PAIR, user, k=K)
    assert [[reason.item_id for reason in answer.reasons] for answer in answers] == [reasons for reasons, _ in rows]
    for answer, (_, weights) in zip(answers, rows, strict=True):
        np.testing.assert_allclose([reason.weight for reason in answer.reasons], weights, atol=1e-5)


def test_an_unknown_mode_is_refused(lineage: Lineage, table: pa.Table) -> None:
    with pytest.raises(SettingsError, match="mode 'telepathy'"):
        recommend_new(lineage.home, PAIR, table, K, mode="telepathy")


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "jsonl"])
def test_a_file_of_any_kind_is_the_table(lineage: Lineage, table: pa.Table, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"new people.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    elif ending == "jsonl":
        table.to_pandas().to_json(path, orient="records", lines=True)
    else:
        pa.csv.write_csv(table, pa.output_stream(path))
    expected, found = (recommend_new(lineage.home, PAIR, given, K) for given in (table, read_history_file(path)))
    assert found.recommendations.equals(expected.recommendations)


def test_time_may_be_missing_and_of_a_repeated_item_the_last_rating_counts(lineage: Lineage, tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("rating,item_id,user_id\n1,books-0003,new\n5,books-0001,new\n5,books-0003,new\n")
    served = deployed_bundle(lineage.home, PAIR).modes["rating"]
    new = newcomers(read_history_file(path), served.source_ids, served.reading)
    items = dict(read(lineage.home, "domain_splits", "select item_id, item_index from split_source_items"))
    assert new.people.histories[1, :3].tolist() == [items["books-0001"], items["books-0003"], 0]
    assert new.people.ratings.stars.tolist() == [5, 5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "user_id,rating\nu,3\n", "a.csv: no column item_id; it has user_id, rating, and needs"),
        ("a.csv", "user_id,item_id,rating\nu,i,good\n", "a.csv: column rating, row 1: expected a number from 1 to 5"),
        ("a.csv", "user_id,item_id,rating\nu,i,3\nu,j,9\n", "a.csv: column rating, row 2: .* got '9'"),
        ("a.csv", "user_id,item_id,rating\nu,,3\n", "a.csv: column item_id, row 1: expected an id"),
        ("a.csv", "user_id,item_id,rating,timestamp\nu,i,3,soon\n", "a.csv: column timestamp, row 1: .* 'soon'"),
        ("a.csv", "user_id,item_id,rating\n", "a.csv: no rows"),
        ("a.jsonl", '{"user_id": "u", "item": "i", "rating": 3}\n', "a.jsonl: no column item_id"),
        ("a.jsonl", '{"user_id": "u"\n', "a.jsonl cannot be read"),
        ("a.parquet", "no parquet", "a.parquet is damaged"),
        ("a.xlsx", "", "a.xlsx: its name must end in .csv, .parquet, .jsonl"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(
    lineage: Lineage, tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SourceError, match=message):
        recommend_new(lineage.home, PAIR, read_history_file(path), origin=str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.csv: no such file"):
        read_history_file(tmp_path / "gone.csv")
