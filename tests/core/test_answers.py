"""Each person in a request is answered separately."""

import pyarrow as pa
import pytest
from conftest import Lineage
from small_lineage import PAIR, read

from ptupcdr_core.serving.answers import RATINGS, Answers, Asked
from ptupcdr_core.serving.deployed import cold_start_ratings, deployed_bundle, recommend
from ptupcdr_core.serving.known import SplitUsers, TabledPeople
from ptupcdr_core.store.warehouse import Warehouse

K = 4


@pytest.fixture(scope="module")
def answers(lineage: Lineage) -> Answers:
    known = SplitUsers(Warehouse(lineage.home.warehouse), PAIR, rated_is_seen=False)
    titles = {"books-0001": "A Book", "movies-0001": "A Movie"}
    return Answers(deployed_bundle(lineage.home, PAIR), known, titles, titles)


@pytest.fixture(scope="module")
def person(lineage: Lineage) -> str:
    return str(read(lineage.home, "domain_splits", "select min(user_id) from split_users where cohort = 'cold'")[0][0])


def test_nobody_fails_for_another(lineage: Lineage, answers: Answers, person: str) -> None:
    good = [("books-0001", 5, None), ("books-0002", 4.5, "2024-01-01"), ("no such book", 3, None)]
    asked = [
        Asked("nobody"),
        Asked("me", good),
        Asked("bad", [("books-0001", 50, None)]),
        Asked(person),
        Asked("me", [("books-0003", "five", None)]),
        Asked("", good),
        Asked("told nothing", []),
    ]
    found = answers.to(asked, K)
    assert [one.user_id for one in found] == [one.user_id for one in asked]
    states = ["unknown", "given", "refused", "known", "refused", "given", "given"]
    assert [one.status for one in found] == states
    assert [len(one.items) for one in found] == [0 if state == "refused" else K for state in states]
    assert "row 1: expected a number from 1 to 5" in str(found[2].message)
    assert "nothing is known (mean)" in str(found[0].message)
    assert found[0].items == found[6].items
    assert found[1].items == found[5].items
    assert found[1].unknown_items == 1
    stored = recommend(lineage.home, PAIR, person, K)
    assert [(item.item_id, item.rank) for item in found[3].items] == [(one.item_id, one.rank) for one in stored]
    assert found[3].made_by == stored[0].made_by


def test_what_was_seen_and_what_is_not_eligible_is_left_out(answers: Answers, person: str) -> None:
    [before] = answers.to([Asked(person)], K)
    first, *others = (item.item_id for item in before.items)
    [after] = answers.to([Asked(person, seen=[first, "no such movie"])], K)
    assert [item.item_id for item in after.items][: K - 1] == others
    eligible = [first, others[0], "movies-0001", "no such movie"]
    [few] = answers.to([Asked(person, seen=[others[0]])], K, eligible)
    assert {item.item_id for item in few.items} == {first, "movies-0001"}
    assert answers.to([Asked(person)], K, ["no such movie"])[0].items == ()
    assert answers.to([], K) == []


def test_titles_stand_beside_ids(answers: Answers) -> None:
    [found] = answers.to([Asked("me", [("books-0001", 5, None)])], 1000)
    named = {item.item_id: item.title for item in found.items}
    assert named["movies-0001"] == "A Movie"
    assert set(named.values()) == {"A Movie", None}
    reasons = [reason for item in found.items for reason in item.reasons]
    assert {(reason.item_id, reason.title) for reason in reasons} == {("books-0001", "A Book")}
    assert all(reason.weight > 0 for reason in reasons)


def test_people_in_a_table_are_those_of_the_split(lineage: Lineage, answers: Answers, person: str) -> None:
    table = TabledPeople(cold_start_ratings(Warehouse(lineage.home.warehouse), PAIR))
    mine, theirs = table.ratings([person, "nobody"]), answers.known.ratings([person, "nobody"])
    assert mine.schema == theirs.schema == RATINGS
    assert mine.equals(theirs)
    assert len(mine)
    assert not len(table.seen([person]))


def test_after_a_refit_people_are_not_recommended_what_they_have_rated(lineage: Lineage) -> None:
    query = "select user_id, item_id from split_target_ratings join split_users using (user_index) join "
    query += "split_target_items using (item_index) where cohort = 'test' order by all limit 1"
    [(user, item)] = read(lineage.home, "domain_splits", query)
    for rated_is_seen in (True, False):
        known = SplitUsers(Warehouse(lineage.home.warehouse), PAIR, rated_is_seen)
        assert (item in known.seen([user])["item_id"].to_pylist()) == rated_is_seen
        [found] = Answers(deployed_bundle(lineage.home, PAIR), known).to([Asked(user)], 1000)
        assert (item in {one.item_id for one in found.items}) != rated_is_seen


def test_no_table_is_read_where_nobody_is_asked_for_by_id(answers: Answers) -> None:
    class Nobody:
        def ratings(self, users: list[str]) -> pa.Table:
            raise AssertionError

        seen = ratings

    Answers(answers.bundle, Nobody()).to([Asked("me", [("books-0001", 5, None)])], 1)
