"""Each check is broken once, and only the check that states the broken fact fails."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from conftest import PAIR, SETTINGS, tamper

from ptupcdr_core.catalog import Domain
from ptupcdr_core.data.splits import build_split, is_test_user
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.bounds import bounds
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks import benchmark, cold_start, ratings, splits
from ptupcdr_dagster.checks.facts import Fact, facts_about, given_rows, raw_ratings_of, split_of
from ptupcdr_dagster.partitions import CATALOG, DOMAINS

SCALE = {"low": 1, "high": 5, "kept": "count(*)"}


def failing(file: Path, table: str, facts: Sequence[Fact], **parameters: Any) -> set[str]:
    return {result.check_name for result in results(file, table, facts, **parameters) if not result.passed}


def results(file: Path, table: str, facts: Sequence[Fact], **parameters: Any) -> list[dg.AssetCheckResult]:
    from ptupcdr_dagster.checks.validation import validate_table

    warehouse = Warehouse(file.parents[1])
    against = raw_ratings_of if table == "recommendations" else split_of
    attached = {} if file == warehouse.file("domain_splits", PAIR) else against(warehouse, PAIR)
    parameters = bounds()["domain_splits"] | bounds()["bridged_embeddings"] | parameters
    return list(validate_table(file, table, "asset", facts, parameters, attached))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with sound ratings, split and results of one pair."""
    root = tmp_path_factory.mktemp("sound")
    warehouse = Warehouse(root)
    pair = CATALOG.pair(PAIR)
    source, target = CATALOG.domain(pair.source), CATALOG.domain(pair.target)
    for domain in (source, target):
        ingest_domain(domain, warehouse)
    tamper(
        warehouse.file("raw_ratings", "books"),
        "insert into rejected_ratings by name select 'books' as domain, 'u' as user_id, 'i' as item_id, '9' as rating,"
        " 'rating_off_scale' as reason, 'books.csv' as source_file, 9 as source_row;"
        "update ingest_counts set rows_read = rows_read + 1, rejected = rejected + 1",
    )
    build_split(pair, source, target, warehouse, SETTINGS)
    _results(warehouse)
    return root


def _results(warehouse: Warehouse) -> None:
    """Results of the agreed form, made by hand: every user likes everything alike."""
    split = f"read_duckdb('{warehouse.file('domain_splits', PAIR)}', table_name = 'split_users')"
    with warehouse.write("bridged_embeddings", PAIR) as connection:
        connection.execute(
            "create table bridged_embeddings as select pair, user_id, cohort, 'rating' as mode, "
            "[sin(user_index + i) for i in range(4)]::float[4] as embedding, 'bridge' as made_by "
            f"from {split} where cohort in ('cold', 'test')"
        )
    with warehouse.write("cold_start_evaluation", PAIR) as connection:
        connection.execute(
            "create table cold_start_errors as select pair, method, 'calibrated' as recipe, 'rating' as mode, "
            "user_id, 2 as ratings, 2 * error as absolute_error, 2 * error * error as squared_error "
            f"from {split}, (values ('ptupcdr', 0.8::double), ('item_mean', 1.0)) as methods(method, error) "
            "where cohort = 'test';"
            "create table cold_start_evaluation as select pair, method, recipe, mode, count(*) as users, "
            "sum(ratings) as ratings, sum(absolute_error) / sum(ratings) as mae, "
            "sqrt(sum(squared_error) / sum(ratings)) as rmse, null::double as ndcg_at_10 "
            "from cold_start_errors group by all;"
            "insert into cold_start_evaluation select pair, method, 'calibrated', 'ranking', 5, 9, null, null, ndcg "
            "from (select distinct pair from cold_start_errors), (values ('ptupcdr', 0.2), ('popularity', 0.1)) "
            "as methods(method, ndcg)"
        )
    with warehouse.write("deployed_model", PAIR) as connection:
        connection.execute(
            "create table deployed_model as select 'rating' as mode, 'new' as serves, false as refitted, "
            "30 as bridge_users, 100 as target_ratings, 'as good as item_mean' as reason"
        )
    with warehouse.write("recommendations", PAIR) as connection:
        items, source_items, histories = (
            split.replace("split_users", table)
            for table in ("split_target_items", "split_source_items", "split_histories")
        )
        connection.execute(
            "create table recommendations as select u.pair, user_id, cohort, 'rating' as mode, "
            "item_index::integer as rank, item_id, (1 / item_index)::float as score, 'bridge' as made_by, "
            "true as bridged, [liked] as reasons, [0.1::float] as reason_weights "
            f"from {split} as u, {items} as i, (select user_index, arg_max(item_id, position) as liked "
            f"from {histories} join {source_items} using (item_index) group by all) as h "
            "where cohort in ('cold', 'test') and item_index <= 3 and u.user_index = h.user_index"
        )
        connection.execute(f"create table recommendable_items as select item_id from {items}")


@pytest.fixture
def broken(sound: Path, home: Home) -> Warehouse:
    """A copy of the sound warehouse, to be broken."""
    shutil.copytree(sound, home.warehouse)
    return Warehouse(home.warehouse)


RATINGS = [
    ("", set()),
    ("alter table raw_ratings alter rating type varchar", {"ratings_have_the_declared_columns"}),
    ("alter table raw_ratings drop timestamp", {"ratings_have_the_declared_columns"}),
    ("update raw_ratings set user_id = null where rowid = 0", {"ratings_are_complete"}),
    ("update raw_ratings set item_id = ' ' where rowid = 0", {"ratings_are_complete"}),
    ("update raw_ratings set rating = null where rowid = 0", {"ratings_are_complete"}),
    ("update raw_ratings set rating = 5.5 where rowid = 0", {"ratings_within_scale"}),
    ("update raw_ratings set rating = 0 where rowid = 0", {"ratings_within_scale"}),
    (
        "update raw_ratings set item_id = (select item_id from raw_ratings where rowid = 1) where rowid = 0",
        {"one_rating_per_user_and_item"},
    ),
    ("delete from raw_ratings where rowid = 0", {"every_row_is_accounted_for"}),
    ("update ingest_counts set rows_read = rows_read + 1", {"every_row_is_accounted_for"}),
    ("delete from rejected_ratings", {"every_row_is_accounted_for"}),
    ("update rejected_ratings set reason = null", {"every_rejected_row_has_a_reason"}),
    ("update rejected_ratings set source_row = null", {"every_rejected_row_has_a_reason"}),
]


@pytest.mark.parametrize(("statements", "expected"), RATINGS)
def test_ratings(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file("raw_ratings", "books")
    tamper(file, statements or "select 1")
    found = failing(file, "raw_ratings", ratings.FACTS, **SCALE)
    # A column of another type or gone cannot be validated further.
    assert found >= expected if "alter" in statements else found == expected


SPLITS = [
    ("", set()),
    ("alter table split_target_ratings alter part type integer using 0", {"splits_have_the_declared_columns"}),
    (
        "update split_users set cohort = 'bridge' where cohort in ('validation'); "
        "update split_target_ratings set part = 'train' where part = 'validation'",
        {"enough_overlapping_users"},
    ),
    ("update split_users set user_id = 'user001' where user_id = 'user000'", {"cohorts_are_disjoint"}),
    ("update split_users set cohort = 'target_only' where user_id = 'user000'", {"cohorts_are_disjoint"}),
    ("update split_summary set beta = 0.5", {"beta_within_tolerance"}),
    (
        "update split_target_ratings set part = 'train' "
        "where rowid = (select min(rowid) from split_target_ratings where part = 'test')",
        {"no_test_user_in_target_training"},
    ),
    (
        "update split_target_ratings set part = 'train' where part = 'validation'",
        {"no_test_user_in_target_training"},
    ),
    ("update split_histories set item_index = 4711 where rowid = 0", {"histories_hold_known_source_items"}),
    ("update split_summary set positive_above = 4", {"histories_hold_known_source_items"}),
    ("update split_histories set position = position + 1 where user_index = 1", {"histories_hold_known_source_items"}),
    ("update split_target_items set item_index = item_index - 1", {"indices_count_from_1"}),
    ("update split_summary set shared_item_ids = 3", {"item_ids_differ_between_domains"}),
    ('update split_source_ratings set "timestamp" = 1000 * "timestamp"', {"times_are_of_one_unit"}),
    ('update split_target_ratings set "timestamp" = 1000 * "timestamp"', {"times_are_of_one_unit"}),
    ('update split_source_ratings set "timestamp" = null', set()),
]


@pytest.mark.parametrize(("statements", "expected"), SPLITS)
def test_splits(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file("domain_splits", PAIR)
    tamper(file, statements or "select 1")
    found = failing(file, "split_users", splits.FACTS)
    assert found >= expected if "alter" in statements else found == expected


EMBEDDINGS = [
    ("", set()),
    ("alter table bridged_embeddings alter made_by type integer using 0", {"embeddings_have_the_declared_columns"}),
    ("delete from bridged_embeddings where rowid = 0", {"one_row_per_cold_user_and_mode"}),
    ("delete from bridged_embeddings", {"one_row_per_cold_user_and_mode"}),
    ("insert into bridged_embeddings from bridged_embeddings limit 1", {"one_row_per_cold_user_and_mode"}),
    ("update bridged_embeddings set user_id = 'nobody' where rowid = 0", {"one_row_per_cold_user_and_mode"}),
    ("update bridged_embeddings set mode = 'other' where rowid = 0", {"one_row_per_cold_user_and_mode"}),
    (
        "update bridged_embeddings set embedding = [1, 'nan'::float, 1, 1]::float[4] where rowid = 0",
        {"embeddings_are_finite"},
    ),
    ("update bridged_embeddings set embedding = [1, null, 1, 1]::float[4] where rowid = 0", {"embeddings_are_finite"}),
    ("update bridged_embeddings set embedding = null where rowid = 0", {"embeddings_are_finite"}),
    (
        "update bridged_embeddings set embedding = [100 * x for x in embedding]::float[4]",
        {"norms_are_comparable_with_the_target_model"},
    ),
    ("update bridged_embeddings set embedding = [1, 0, 0, 0]::float[4]", {"embeddings_are_not_collapsed"}),
    (
        "update bridged_embeddings set embedding = [0, 0, 0, 0]::float[4]",
        {"embeddings_are_not_collapsed", "norms_are_comparable_with_the_target_model"},
    ),
    ("update bridged_embeddings set made_by = null where rowid = 0", {"every_fallback_is_declared"}),
    ("update bridged_embeddings set made_by = 'chance' where rowid = 0", {"every_fallback_is_declared"}),
]


@pytest.mark.parametrize(("statements", "expected"), EMBEDDINGS)
def test_bridged_embeddings(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file("bridged_embeddings", PAIR)
    tamper(file, statements or "select 1")
    found = failing(file, "bridged_embeddings", cold_start.EMBEDDING_FACTS, modes="['rating']", target_norm=1.0)
    assert (
        found >= expected if statements.startswith(("alter", "delete from bridged_embeddings")) else found == expected
    )


@pytest.mark.parametrize(("norm", "expected"), [(0.6025602257115802, False), (60.25602257115802, True)])
def test_a_norm_of_many_digits_is_no_decimal_that_overflows(broken: Warehouse, norm: float, expected: bool) -> None:
    found = failing(
        broken.file("bridged_embeddings", PAIR),
        "bridged_embeddings",
        cold_start.EMBEDDING_FACTS,
        modes="['rating']",
        target_norm=norm,
    )
    assert found == ({"norms_are_comparable_with_the_target_model"} if expected else set())


EVALUATION = [
    ("", set()),
    (
        "update cold_start_evaluation set users = users - 1 where method = 'ptupcdr'; "
        "delete from cold_start_errors "
        "where rowid = (select max(rowid) from cold_start_errors where method = 'ptupcdr')",
        {"methods_share_their_test_users", "errors_add_up"},
    ),
    ("update cold_start_errors set absolute_error = 0 where rowid = 0", {"errors_add_up"}),
    ("delete from cold_start_errors where method = 'item_mean'", {"errors_add_up"}),
    (
        "update cold_start_evaluation set rmse = null where method = 'item_mean'",
        {"errors_add_up", "bridge_beats_item_mean"},
    ),
    (
        "update cold_start_evaluation set rmse = 1.2 where method = 'ptupcdr'; "
        "update cold_start_errors set squared_error = 2 * 1.44 where method = 'ptupcdr'",
        {"bridge_beats_item_mean"},
    ),
    (
        "update cold_start_evaluation set ndcg_at_10 = 0.3 where method = 'popularity'",
        {"bridge_ranks_better_than_popularity"},
    ),
]


@pytest.mark.parametrize(("statements", "expected"), EVALUATION)
def test_evaluation(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file("cold_start_evaluation", PAIR)
    tamper(file, statements or "select 1")
    assert failing(file, "cold_start_evaluation", cold_start.EVALUATION_FACTS) == expected


SAID = "every_mode_is_served_or_said_why"
DEPLOYMENTS = [
    ("", set()),
    ("update deployed_model set serves = 'kept'", set()),
    ("update deployed_model set serves = 'nothing', bridge_users = 0, target_ratings = 0", set()),
    ("update deployed_model set serves = 'perhaps'", {SAID}),
    ("update deployed_model set bridge_users = 0", {SAID}),
    ("update deployed_model set reason = ''", {SAID}),
    ("insert into deployed_model from deployed_model", {SAID}),
    ("delete from deployed_model", {SAID}),
    ("update deployed_model set mode = 'other'", {SAID}),
]


@pytest.mark.parametrize(("statements", "expected"), DEPLOYMENTS)
def test_deployed_model(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file("deployed_model", PAIR)
    tamper(file, statements or "select 1")
    found = failing(file, "deployed_model", cold_start.DEPLOYMENT_FACTS, modes="['rating']")
    assert found == expected


SERVED = {"deployed": True, "refitted": False, "seed": SETTINGS.seed, "beta": SETTINGS.beta, **given_rows(PAIR)}
RECOMMENDATIONS = [
    ("", set()),
    (
        "delete from recommendations where user_id = (select min(user_id) from recommendations)",
        {"every_cold_user_has_recommendations"},
    ),
    ("update recommendations set rank = 7 where rank = 3", {"every_cold_user_has_recommendations"}),
    ("update recommendations set score = 2 where rank = 3", {"every_cold_user_has_recommendations"}),
    ("update recommendations set score = 'nan' where rank = 3", {"every_cold_user_has_recommendations"}),
    (
        "delete from recommendable_items where item_id in (select item_id from recommendations where rank = 2)",
        {"recommended_items_are_target_items"},
    ),
    ("update recommendations set item_id = 'books-00' where rank = 3", {"recommended_items_are_target_items"}),
    ("update recommendations set item_id = 'movies-00'", {"recommended_items_are_target_items"}),
    (
        "alter table recommendations drop reason_weights",
        {"recommendations_have_the_declared_columns", "reasons_are_from_the_history"},
    ),
    ("update recommendations set bridged = false where rank = 1", {"reasons_are_from_the_history"}),
    ("update recommendations set reasons = ['movies-00'] where rank = 1", {"reasons_are_from_the_history"}),
    ("update recommendations set reasons = [] where rank = 1", {"reasons_are_from_the_history"}),
    ("update recommendations set reason_weights = [-0.1] where rank = 1", {"reasons_are_from_the_history"}),
    (
        "update recommendations set reasons = reasons || reasons, reason_weights = [0.1, 0.2] where rank = 1",
        {"reasons_are_from_the_history"},
    ),
]


@pytest.mark.parametrize(("statements", "expected"), RECOMMENDATIONS)
def test_recommendations(broken: Warehouse, statements: str, expected: set[str]) -> None:
    file = broken.file("recommendations", PAIR)
    tamper(file, statements or "select 1")
    assert failing(file, "recommendations", cold_start.RECOMMENDATION_FACTS, **SERVED) == expected


def test_a_rating_that_was_trained_on_is_not_recommended(broken: Warehouse) -> None:
    """Nobody was held out from a model of beta 0: whoever has rated in the target was trained on, and is not cold."""
    file = broken.file("recommendations", PAIR)
    found = failing(file, "recommendations", cold_start.RECOMMENDATION_FACTS, **SERVED | {"beta": 0})
    assert found == {"recommended_items_are_unseen", "every_cold_user_has_recommendations"}


def test_a_cold_user_has_rated_nothing_in_the_target(broken: Warehouse) -> None:
    file = broken.file("recommendations", PAIR)
    with duckdb.connect(str(file)) as connection:
        query = "select user_id, item_id from recommendations where cohort = 'cold' and rank = 1 order by user_id"
        rows = connection.execute(query).fetchall()
    user, item = next(row for row in rows if not is_test_user(row[0], SETTINGS.seed, SETTINGS.beta))
    tamper(
        broken.file("raw_ratings", PAIR.split("__")[1]),
        f"insert into raw_ratings by name select '{user}' as user_id, '{item}' as item_id, 3 as rating",
    )
    found = failing(file, "recommendations", cold_start.RECOMMENDATION_FACTS, **SERVED)
    assert found == {"recommended_items_are_unseen", "every_cold_user_has_recommendations"}


def test_whoever_has_rated_in_the_target_is_not_called_cold(broken: Warehouse) -> None:
    file = broken.file("recommendations", PAIR)
    tamper(file, "update recommendations set cohort = 'cold' where cohort = 'test'")
    found = failing(file, "recommendations", cold_start.RECOMMENDATION_FACTS, **SERVED)
    assert found == {"every_cold_user_has_recommendations"}


def test_what_a_test_user_has_rated_may_be_found_until_the_models_know_it(broken: Warehouse) -> None:
    file = broken.file("recommendations", PAIR)
    for refitted, expected in ((False, set()), (True, {"recommended_items_are_unseen"})):
        served = SERVED | {"refitted": refitted}
        assert failing(file, "recommendations", cold_start.RECOMMENDATION_FACTS, **served) == expected


def test_where_nothing_is_deployed_nobody_needs_a_list(broken: Warehouse) -> None:
    file = broken.file("recommendations", PAIR)
    tamper(file, "delete from recommendations")
    for deployed, expected in ((False, set()), (True, {"every_cold_user_has_recommendations"})):
        served = SERVED | {"deployed": deployed}
        assert failing(file, "recommendations", cold_start.RECOMMENDATION_FACTS, **served) == expected


def test_who_has_rated_everything_needs_no_list(broken: Warehouse) -> None:
    target, file = broken.file("raw_ratings", PAIR.split("__")[1]), broken.file("recommendations", PAIR)
    with duckdb.connect(str(file)) as connection:
        [(user,)] = connection.execute("select min(user_id) from recommendations where cohort = 'test'").fetchall()
    tamper(file, f"delete from recommendations where user_id = '{user}'")
    facts = cold_start.RECOMMENDATION_FACTS
    assert failing(file, "recommendations", facts, **SERVED) == {"every_cold_user_has_recommendations"}
    tamper(
        target,
        f"""create temp table items as select distinct item_id from raw_ratings;
           delete from raw_ratings where user_id = '{user}';
           insert into raw_ratings by name select '{user}' as user_id, item_id, 3 as rating from items""",
    )
    assert failing(file, "recommendations", facts, **SERVED) == set()


LISTS = (
    "create table benchmark_rankings as select 0.2::double as beta, 1 as seed, 'emcdr' as method, found as ndcg_at_10 "
    "from (values (0.4::double), (0.6)) as users(found);"
    "create table benchmark_lists as select beta, seed, method, avg(ndcg_at_10) as ndcg_at_10 from benchmark_rankings "
    "group by all;"
)
"""A benchmark of a version before has no such tables."""

BENCHMARK = [
    ("", set()),
    (LISTS, set()),
    (LISTS + "update benchmark_lists set ndcg_at_10 = 0.7", {"lists_of_users_add_up"}),
    (LISTS + "delete from benchmark_rankings", {"lists_of_users_add_up"}),
    ("alter table benchmark alter beta type varchar", {"cells_have_the_declared_columns"}),
    ("insert into benchmark from benchmark where method = 'tgt'", {"one_row_per_cell"}),
    ("update benchmark set rmse = 'nan' where method = 'tgt'", {"one_row_per_cell"}),
    ("update benchmark set users = 9 where method = 'tgt'", {"methods_of_a_split_share_their_test_ratings"}),
    ("update benchmark set mae = 0.5 where method = 'tgt'", {"errors_of_users_add_up"}),
    ("delete from benchmark_errors where method = 'tgt'", {"errors_of_users_add_up"}),
]


@pytest.mark.parametrize(("statements", "expected"), BENCHMARK)
def test_benchmark(broken: Warehouse, statements: str, expected: set[str]) -> None:
    with broken.write("benchmark", PAIR) as connection:
        connection.execute(
            "create table benchmark_errors as select 'books__movies' as pair, method, 'honest' as recipe, "
            "'rating' as mode, 0.2::double as beta, 1 as seed, 'mf' as base_model, 'u' || u as user_id, 2 as ratings, "
            "u * stars as absolute_error, u * stars * stars as squared_error "
            "from range(1, 5) as users(u), (values ('tgt', 1.5::double), ('emcdr', 1.0)) as methods(method, stars);"
            "create table benchmark as select pair, method, recipe, mode, beta, seed::bigint as seed, base_model, "
            "count(*) as users, sum(ratings)::bigint as ratings, sum(absolute_error) / sum(ratings) as mae, "
            "sqrt(sum(squared_error) / sum(ratings)) as rmse from benchmark_errors group by all"
        )
    file = broken.file("benchmark", PAIR)
    tamper(file, statements or "select 1")
    assert failing(file, "benchmark", benchmark.FACTS, **benchmark.lists_of(broken, PAIR)) == expected


def test_every_fact_is_broken_by_some_test() -> None:
    facts = {
        fact.name
        for group in (
            ratings.FACTS,
            splits.FACTS,
            cold_start.EMBEDDING_FACTS,
            cold_start.EVALUATION_FACTS,
            cold_start.DEPLOYMENT_FACTS,
            cold_start.RECOMMENDATION_FACTS,
            benchmark.FACTS,
        )
        for fact in group
    }
    cases = [*RATINGS, *SPLITS, *EMBEDDINGS, *EVALUATION, *DEPLOYMENTS, *RECOMMENDATIONS, *BENCHMARK]
    broken = set().union(*(expected for _, expected in cases))
    assert facts == broken | {"recommended_items_are_unseen"}, "the last one has a test of its own"


def test_a_query_without_its_fact_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"sql/champion.sql: no fact for \['new_model_is_in_use'\], no query for \['fine'\]"
    ):
        facts_about("champion", Fact("fine", "All is well."))


def test_a_failed_check_says_what_it_found(broken: Warehouse) -> None:
    file = broken.file("raw_ratings", "books")
    tamper(file, "update raw_ratings set rating = 7.5 where rowid = 3")
    [found] = [r for r in results(file, "raw_ratings", ratings.FACTS, **SCALE) if not r.passed]
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.description is not None
    assert "7.5" in found.description


def test_another_release_of_a_published_file_is_noticed(broken: Warehouse, home: Home) -> None:
    unknown = ratings.known_counts(home, CATALOG.domain("books"))
    assert (unknown.passed, unknown.description) == (True, "no known counts: not a 5-core file of 2014")
    published = Domain(name="books", format="amazon-2014", path="somewhere/reviews_Books_5.json.gz")
    found = ratings.known_counts(home, published)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description is not None
    assert "but the 5-core Books of 2014 has 603,668: the file is another release or incomplete" in found.description
    assert not ratings.KNOWN_COUNTS.spec("raw_ratings", DOMAINS).blocking


def test_warnings_do_not_hold_back_what_follows() -> None:
    warnings = {fact.name for fact in (*splits.FACTS, *cold_start.EVALUATION_FACTS) if fact.warning}
    bridge = {"bridge_beats_item_mean", "bridge_ranks_better_than_popularity"}
    assert warnings == {"item_ids_differ_between_domains", "times_are_of_one_unit", *bridge}


def test_a_file_that_was_replaced_is_validated_as_it_is_now(broken: Warehouse) -> None:
    file = broken.file("raw_ratings", "books")
    replacement = file.with_name("replacement.duckdb")
    shutil.copy(file, replacement)
    tamper(replacement, "delete from raw_ratings")
    before = failing(file, "raw_ratings", ratings.FACTS, **SCALE)
    replacement.replace(file)
    assert "every_row_is_accounted_for" in failing(file, "raw_ratings", ratings.FACTS, **SCALE) - before


def test_validation_reads_beside_another_process(broken: Warehouse) -> None:
    file = broken.file("raw_ratings", "books")
    hold = f"import duckdb; c = duckdb.connect({str(file)!r}, read_only=True); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"open\n"
        found = failing(file, "raw_ratings", ratings.FACTS, **SCALE)
        reader.communicate(b"\n")
    assert found == set()
