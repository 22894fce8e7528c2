"""The split is a pure function of ids, seed and beta, and lets nothing of a held-out user into training."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ratings_files import WITH_TIME, WITHOUT_TIME, as_delimited, domain, pack

from ptupcdr_core.catalog import Columns, Domain, Pair
from ptupcdr_core.data.splits import SplitReport, build_split
from ptupcdr_core.data.warm_split import load_warm_split
from ptupcdr_core.errors import SplitError, WarehouseError
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

PAIR = Pair(source="books", target="movies")
PEOPLE = [f"user {n}" for n in range(200)]
BOOKS = [(user, f"book {b}", 1 + (n + b) % 5, b) for n, user in enumerate(PEOPLE[:150]) for b in range(6)]
MOVIES = [(user, f"movie {m}", 1 + (n * m) % 5, m) for n, user in enumerate(PEOPLE[30:], 30) for m in range(4)]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse", threads=2)


def put(warehouse: Warehouse, books: list[tuple], movies: list[tuple], **more: Any) -> tuple[Domain, Domain]:
    made = []
    for name, rows in (("books", books), ("movies", movies)):
        path = pack(warehouse.root.parent / f"{name}.csv", as_delimited(rows))
        made.append(domain(path, name=name, **more))
        ingest_domain(made[-1], warehouse)
    return made[0], made[1]


def split(warehouse: Warehouse, domains: tuple[Domain, Domain], **changed: Any) -> SplitReport:
    return build_split(PAIR, *domains, warehouse, Settings(**changed))


def look(warehouse: Warehouse, query: str) -> list[tuple]:
    with warehouse.read("domain_splits", PAIR.key) as connection:
        return connection.execute(query).fetchall()


def unit(key: str) -> float:
    return int(hashlib.md5(key.encode()).hexdigest()[:13], 16) / 16**13


def cohort_of(user: str, beta: float, seed: int, validation_fraction: float = 0.1) -> str:
    if unit(f"{seed}:{user}") < beta:
        return "test"
    return "validation" if unit(f"{seed}:validation:{user}") < validation_fraction else "bridge"


def cohorts(warehouse: Warehouse) -> dict[str, str]:
    return dict(look(warehouse, "select user_id, cohort from split_users"))


def test_a_split_says_what_it_did(warehouse: Warehouse) -> None:
    report = split(warehouse, put(warehouse, BOOKS, MOVIES))
    assert report.users["cold"] == 30
    assert report.users["target_only"] == 50
    assert report.users["test"] + report.users["validation"] + report.users["bridge"] == 120
    assert (report.source_items, report.target_items, report.source_ratings) == (6, 4, 900)
    assert sum(report.target_ratings.values()) == len(MOVIES)
    summary = look(
        warehouse, "select beta, seed, positive_above, source_low, target_high, vocabulary from split_summary"
    )
    assert summary == [(0.2, 2020, 3.0, 1.0, 5.0, report.vocabulary)]


def test_cohorts_agree_with_the_python_function(warehouse: Warehouse) -> None:
    split(warehouse, put(warehouse, BOOKS, MOVIES), beta=0.5, seed=10)
    found = cohorts(warehouse)
    for number, user in enumerate(PEOPLE):
        expected = "cold" if number < 30 else "target_only" if number >= 150 else cohort_of(user, 0.5, 10)
        assert found[user] == expected, user


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    users=st.sets(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]), min_size=1), min_size=5, max_size=40
    ),
    beta=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**40),
)
def test_any_ids_agree_with_the_python_function_and_stand_in_byte_order(
    warehouse: Warehouse, users: set[str], beta: float, seed: int
) -> None:
    rows = [(f'"{user.replace(chr(34), chr(34) * 2)}"', "item", 4, 1) for user in users]
    domains = put(warehouse, rows, rows)
    expected = {user: cohort_of(user, beta, seed, 0.3) for user in users}
    if set(expected.values()) < {"test", "validation", "bridge"}:
        with pytest.raises(SplitError, match="fell to"):
            split(warehouse, domains, beta=beta, seed=seed, validation_fraction=0.3)
        return
    split(warehouse, domains, beta=beta, seed=seed, validation_fraction=0.3)
    assert cohorts(warehouse) == expected
    in_order = [row[0] for row in look(warehouse, "select user_id from split_users order by user_index")]
    assert in_order == sorted(users, key=str.encode)


def test_a_larger_beta_only_adds_test_users(warehouse: Warehouse) -> None:
    domains = put(warehouse, BOOKS, MOVIES)
    earlier: set[str] = set()
    for beta in (0.2, 0.5, 0.8):
        split(warehouse, domains, beta=beta)
        test = {user for user, cohort in cohorts(warehouse).items() if cohort == "test"}
        assert earlier < test
        assert abs(len(test) / 120 - beta) < 0.15
        earlier = test


def test_a_user_stays_where_they_are_when_others_come(warehouse: Warehouse) -> None:
    split(warehouse, put(warehouse, BOOKS, MOVIES))
    before = cohorts(warehouse)
    more = [(f"new {n}", item, 3, 1) for n in range(50) for item in ("book 1", "movie 1")]
    split(warehouse, put(warehouse, BOOKS + more[::2], MOVIES + more[1::2]))
    after = cohorts(warehouse)
    assert {user: after[user] for user in before} == before
    assert len(after) == len(before) + 50


def test_seeds_differ(warehouse: Warehouse) -> None:
    domains = put(warehouse, BOOKS, MOVIES)
    seen = []
    for seed in (900, 1000):
        split(warehouse, domains, seed=seed)
        seen.append(cohorts(warehouse))
    assert seen[0] != seen[1]


def test_no_target_rating_of_a_held_out_user_is_in_training(warehouse: Warehouse) -> None:
    split(warehouse, put(warehouse, BOOKS, MOVIES), beta=0.5)
    parts = look(
        warehouse,
        "select cohort, part, count(*) from split_target_ratings join split_users using (user_index) group by all",
    )
    assert {(cohort, part) for cohort, part, _ in parts} == {
        ("test", "test"), ("validation", "validation"), ("bridge", "train"), ("target_only", "train"),
    }  # fmt: skip
    assert sum(amount for *_, amount in parts) == len(MOVIES)
    assert look(warehouse, "select count(*) from split_source_ratings") == [(len(BOOKS),)], (
        "all source ratings are used"
    )


def test_vocabularies_count_from_one_in_byte_order(warehouse: Warehouse) -> None:
    items = ["Z", "a", "é", "01", "1", "☃", "𝄞", "\uffff"]
    rows = [(user, item, 4, 1) for user in PEOPLE for item in items]
    split(warehouse, put(warehouse, rows, rows))
    for side in ("source", "target"):
        found = look(warehouse, f"select item_index, item_id from split_{side}_items")
        assert found == list(enumerate(sorted(items, key=str.encode), 1))
    assert look(warehouse, "select min(user_index), max(user_index), count(*) from split_users") == [(1, 200, 200)]


def history(warehouse: Warehouse, user: str = "user 100") -> list[tuple[str, float]]:
    query = """select item_id, h.rating from split_histories h join split_users using (user_index)
               join split_source_items using (item_index) where user_id = '{}' order by position"""
    return look(warehouse, query.format(user))


def only(*rows: tuple[str, float, Any]) -> list[tuple]:
    """Source ratings in which one user has these (item, rating, time)."""
    others = [row for row in BOOKS if row[0] != "user 100"]
    return others + [("user 100", *row) for row in rows]


def test_a_history_is_the_last_positive_items_oldest_first(warehouse: Warehouse) -> None:
    source = only(("late", 4, 30), ("early", 5, 10), ("disliked", 3, 40), ("middle", 3.5, 20))
    domains = put(warehouse, source, MOVIES)
    split(warehouse, domains)
    assert history(warehouse) == [("early", 5), ("middle", 3.5), ("late", 4)]
    split(warehouse, domains, history_length=2)
    assert history(warehouse) == [("middle", 3.5), ("late", 4)]
    split(warehouse, domains, positive_above=4.5)
    assert history(warehouse) == [("early", 5)]
    split(warehouse, domains, positive_above=2.5)
    assert history(warehouse)[-1] == ("disliked", 3)


def test_ties_of_time_are_broken_by_item_id(warehouse: Warehouse) -> None:
    split(warehouse, put(warehouse, only(("c", 5, 1), ("a", 5, 1), ("b", 5, 1), ("z", 5, 0)), MOVIES), history_length=3)
    assert [item for item, _ in history(warehouse)] == ["a", "b", "c"]


def test_without_timestamps_a_history_is_in_file_order(warehouse: Warehouse) -> None:
    source = only(("c", 5, 1), ("a", 5, 3), ("b", 5, 2))
    split(warehouse, put(warehouse, source, MOVIES, columns=WITHOUT_TIME), history_length=2)
    assert [item for item, _ in history(warehouse)] == ["a", "b"]


def test_positions_have_no_gaps_and_nobody_without_positives_has_a_history(warehouse: Warehouse) -> None:
    split(warehouse, put(warehouse, only(("a", 1, 1)), MOVIES), history_length=2)
    assert history(warehouse) == []
    rows = look(warehouse, "select user_index, list(position order by position) from split_histories group by all")
    assert {tuple(positions) for _, positions in rows} <= {(0,), (0, 1)}


def test_a_history_starts_at_the_middle_of_the_sources_own_scale(warehouse: Warehouse) -> None:
    domains = put(warehouse, only(("six", 6, 1), ("five", 5, 2), ("ten", 10, 3)), MOVIES, scale=(0, 10))
    split(warehouse, domains)
    assert [item for item, _ in history(warehouse)] == ["six", "ten"]


def test_items_of_both_domains_are_counted(warehouse: Warehouse) -> None:
    shared = [("user 100", "movie 1", 5, 1), ("user 0", "movie 1", 5, 1)]  # user 0 has no target ratings
    report = split(warehouse, put(warehouse, BOOKS + shared, MOVIES))
    assert (report.shared_item_ids, report.shared_ratings) == (1, 1)
    assert look(warehouse, "select shared_item_ids, shared_ratings from split_summary") == [(1, 1)]


def test_the_vocabulary_hash_follows_the_ids_and_nothing_else(warehouse: Warehouse) -> None:
    domains = put(warehouse, BOOKS, MOVIES)
    first = split(warehouse, domains).vocabulary
    assert split(warehouse, domains, beta=0.5, seed=1).vocabulary == first
    assert split(warehouse, put(warehouse, BOOKS[::-1], MOVIES)).vocabulary == first
    assert split(warehouse, put(warehouse, [*BOOKS, ("user 0", "new", 5, 1)], MOVIES)).vocabulary != first


@pytest.mark.parametrize(
    ("books", "movies", "changed", "message"),
    [
        (BOOKS, [("other " + user, *rest) for user, *rest in MOVIES], {}, "no user has ratings in both domains"),
        (
            BOOKS[:6],
            [("user 0", "m", 4, 1)],
            {"beta": 1e-9},
            r"none of the 1 overlapping users fell to test; raise beta",
        ),
        (BOOKS, MOVIES, {"validation_fraction": 1e-9}, "fell to validation; raise validation_fraction"),
        (BOOKS, MOVIES, {"validation_fraction": 1 - 1e-9}, "fell to bridge; lower beta"),
    ],
)
def test_a_pair_that_cannot_be_split_says_why_and_keeps_the_old_split(
    warehouse: Warehouse, books: list[tuple], movies: list[tuple], changed: dict[str, Any], message: str
) -> None:
    split(warehouse, put(warehouse, BOOKS, MOVIES))
    before = cohorts(warehouse)
    domains = put(warehouse, books, movies)
    with pytest.raises(SplitError, match=message):
        split(warehouse, domains, **changed)
    assert cohorts(warehouse) == before


def test_a_domain_that_was_not_ingested_is_named(warehouse: Warehouse) -> None:
    domains = (Domain(name="books", format="demo"), Domain(name="movies", format="demo"))
    with pytest.raises(WarehouseError, match="raw_ratings of books"):
        split(warehouse, domains)


SPLIT = """
import sys
from pathlib import Path
from ptupcdr_core.catalog import Columns, Domain, Pair
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.settings import Settings
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.data.warm_split import load_warm_split
warehouse = Warehouse(Path(sys.argv[1]), threads=int(sys.argv[2]))
books, movies = (Domain(name=name, format="demo") for name in ("books", "movies"))
ingest_domain(books, warehouse)
ingest_domain(movies, warehouse)
build_split(Pair(source="books", target="movies"), books, movies, warehouse, Settings())
with warehouse.read("domain_splits", "books__movies") as connection:
    for (table,) in connection.execute("show tables").fetchall():
        if table.startswith("split_"):
            query = f"select sha256(string_agg(r::varchar, chr(10) order by rowid)) from {table} r"
            print(table, connection.execute(query).fetchall())
"""


def test_the_same_split_at_any_thread_count_and_hash_seed(tmp_path: Path) -> None:
    outputs = set()
    for threads, seed in ((1, "0"), (4, "1"), (2, "random")):
        command = [sys.executable, "-c", SPLIT, str(tmp_path / f"w{threads}"), str(threads)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        outputs.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(outputs) == 1
    assert outputs.pop().count("split_") == 7


@pytest.mark.parametrize(("columns", "first"), [(WITHOUT_TIME, "last in the alphabet"), (WITH_TIME, "a")])
def test_a_warm_start_users_first_ratings_are_the_first_of_the_file_where_no_time_is_known(
    warehouse: Warehouse, columns: Columns, first: str
) -> None:
    items = ["last in the alphabet", "b", "c", "a"]
    movies = [(user, item, 4, at) for user in PEOPLE[:150] for at, item in zip((9, 8, 8, 7), items, strict=True)]
    split(warehouse, put(warehouse, BOOKS, movies, columns=columns))
    halves = load_warm_split(warehouse, PAIR.key, "test")
    index = dict(look(warehouse, "select item_id, item_index from split_target_items"))
    expected = [first, "b"]  # with equal times, b comes before c
    assert halves.first.items.tolist() == [index[item] for item in expected] * len(halves.users)
