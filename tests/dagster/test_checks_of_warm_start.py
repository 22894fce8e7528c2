"""Each check of the warm start is broken once, and only the check that states the broken fact fails."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import PAIR, SETTINGS, tamper

from ptupcdr_core.data.splits import build_split, is_test_user
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks import warm_start
from ptupcdr_dagster.checks.facts import Fact
from ptupcdr_dagster.partitions import CATALOG

TUNED, EVALUATION = "fine_tuned_embeddings", "warm_start_evaluation"


def failing(file: Path, table: str, facts: Sequence[Fact], **parameters: Any) -> set[str]:
    from ptupcdr_dagster.checks.validation import validate_table

    split = file.parents[1] / "domain_splits" / f"{PAIR}.duckdb"
    found = validate_table(file, table, "asset", facts, parameters, {"domain_splits": split})
    return {result.check_name for result in found if not result.passed}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with a pair's split and warm-start results of the agreed form, made by hand."""
    root = tmp_path_factory.mktemp("sound")
    warehouse, pair = Warehouse(root), CATALOG.pair(PAIR)
    source, target = CATALOG.domain(pair.source), CATALOG.domain(pair.target)
    for domain in (source, target):
        ingest_domain(domain, warehouse)
    build_split(pair, source, target, warehouse, SETTINGS)
    split = f"read_duckdb('{warehouse.file('domain_splits', PAIR)}', table_name = 'split_users')"
    # Everybody has 14 ratings.
    amounts = "(values ('1', 1), ('2', 2), ('4', 4), ('8', 7), ('half', 7)) as amounts(known_ratings, known_count)"
    with warehouse.write(TUNED, PAIR) as connection:
        connection.execute(
            f"create table {TUNED} as select pair, user_id, 'rating' as mode, known_ratings, known_count, "
            "[sin(user_index + i) for i in range(4)]::float[4] as embedding, 'bridge' as started_from "
            f"from {split}, {amounts} where cohort = 'test'"
        )
    with warehouse.write(EVALUATION, PAIR) as connection:
        connection.execute(
            "create table warm_start_errors as select pair, method, 'calibrated' as recipe, 'rating' as mode, "
            "known_ratings, user_id, 7 as ratings, 7 * error as absolute_error, 7 * error * error as squared_error "
            f"from {split}, (values ('ptupcdr', 0.8::double), ('random', 1.0)) as methods(method, error), "
            "(values ('0'), ('1'), ('2'), ('4'), ('8'), ('half')) as amounts(known_ratings) where cohort = 'test';"
            f"create table {EVALUATION} as select pair, method, recipe, mode, known_ratings, count(*) as users, "
            "sum(ratings) as ratings, sum(absolute_error) / sum(ratings) as mae, "
            "sqrt(sum(squared_error) / sum(ratings)) as rmse from warm_start_errors group by all"
        )
    return root


@pytest.fixture
def broken(sound: Path, home: Home) -> Warehouse:
    """A copy of the sound warehouse, to be broken."""
    shutil.copytree(sound, home.warehouse)
    return Warehouse(home.warehouse)


COLUMNS, ROWS = "fine_tuned_embeddings_have_the_declared_columns", "one_row_per_test_user_and_known_ratings"
FINITE, START = "fine_tuned_embeddings_are_finite", "every_start_is_declared"
HALVES, SUMS = "methods_share_their_second_halves", "warm_start_errors_add_up"
HEAD_START = "bridged_start_beats_random_start"

TUNED_CASES = [
    ("", set()),
    (f"alter table {TUNED} alter known_count type varchar", {COLUMNS}),
    (f"delete from {TUNED} where rowid = 0", {ROWS}),
    (f"delete from {TUNED}", {ROWS}),
    (f"insert into {TUNED} from {TUNED} limit 1", {ROWS}),
    (f"update {TUNED} set user_id = 'nobody' where rowid = 0", {ROWS}),
    (f"update {TUNED} set mode = 'other' where rowid = 0", {ROWS}),
    (f"update {TUNED} set known_ratings = '16' where rowid = 0", {ROWS}),
    (f"update {TUNED} set known_count = 8 where known_ratings = 'half'", {ROWS}),
    (f"update {TUNED} set embedding = [1, 'nan'::float, 1, 1]::float[4] where rowid = 0", {FINITE}),
    (f"update {TUNED} set embedding = [1, 'inf'::float, 1, 1]::float[4] where rowid = 0", {FINITE}),
    (f"update {TUNED} set embedding = null where rowid = 0", {FINITE}),
    (f"update {TUNED} set started_from = null where rowid = 0", {START}),
    (f"update {TUNED} set started_from = 'chance' where rowid = 0", {START}),
]


@pytest.mark.parametrize(("statements", "expected"), TUNED_CASES)
def test_fine_tuned_embeddings(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file(TUNED, PAIR)
    tamper(file, statements or "select 1")
    found = failing(file, TUNED, warm_start.TUNED_FACTS)
    assert found >= expected if statements.startswith("alter") else found == expected


def test_of_a_large_pair_those_who_are_read_are_tuned(broken: Warehouse) -> None:
    file, share = broken.file(TUNED, PAIR), 0.5
    tamper(broken.file("domain_splits", PAIR), f"update split_summary set overlapping_read = {share}")
    assert failing(file, TUNED, warm_start.TUNED_FACTS) == {ROWS}, "others are tuned too"
    with broken.read(TUNED, PAIR) as connection:
        tuned = {user for (user,) in connection.execute(f"select user_id from {TUNED}").fetchall()}
    unread = {user for user in tuned if not is_test_user(f"read:{user}", SETTINGS.seed, share)}
    assert set() < unread < tuned
    tamper(file, f"delete from {TUNED} where list_contains({sorted(unread)}, user_id)")
    assert failing(file, TUNED, warm_start.TUNED_FACTS) == set()


EVALUATION_CASES = [
    ("", set()),
    (
        f"update {EVALUATION} set users = users - 1 where method = 'random' and known_ratings = '4'; "
        "delete from warm_start_errors where rowid = (select max(rowid) from warm_start_errors "
        "where method = 'random' and known_ratings = '4')",
        {HALVES, SUMS},
    ),
    (
        f"delete from {EVALUATION} where method = 'random' and known_ratings = '4'; "
        "delete from warm_start_errors where method = 'random' and known_ratings = '4'",
        {HALVES},
    ),
    ("update warm_start_errors set absolute_error = 0 where rowid = 0", {SUMS}),
    (f"update {EVALUATION} set mae = 'nan' where method = 'random' and known_ratings = '1'", {SUMS}),
    (f"update {EVALUATION} set rmse = null where method = 'random' and known_ratings = '1'", {SUMS, HEAD_START}),
    (
        f"update {EVALUATION} set rmse = 1.2 where method = 'ptupcdr' and known_ratings = 'half'; "
        "update warm_start_errors set squared_error = 7 * 1.44 where method = 'ptupcdr' and known_ratings = 'half'",
        {HEAD_START},
    ),
]


@pytest.mark.parametrize(("statements", "expected"), EVALUATION_CASES)
def test_warm_start_evaluation(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file(EVALUATION, PAIR)
    tamper(file, statements or "select 1")
    assert failing(file, EVALUATION, warm_start.EVALUATION_FACTS) == expected


def test_every_fact_is_broken_by_some_test() -> None:
    facts = {fact.name for fact in (*warm_start.TUNED_FACTS, *warm_start.EVALUATION_FACTS)}
    assert facts == set().union(*(expected for _, expected in (*TUNED_CASES, *EVALUATION_CASES)))


def test_only_the_head_start_is_a_warning() -> None:
    facts = (*warm_start.TUNED_FACTS, *warm_start.EVALUATION_FACTS)
    assert [fact.name for fact in facts if fact.warning] == [HEAD_START]
