"""Several source domains of one pair: they are one source with the items of all, each with factors of its own."""

import html
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from ratings_files import as_delimited, pack

from ptupcdr_core import recommend, recommend_new
from ptupcdr_core.catalog import Catalog, Pair
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.data.pair_data import Ratings, load_pair
from ptupcdr_core.data.people import people_of
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.errors import CatalogError, UnknownUserError
from ptupcdr_core.experiments.benchmark import run_benchmark
from ptupcdr_core.experiments.grid import Grid
from ptupcdr_core.experiments.objectives import measure_lists, measure_ratings
from ptupcdr_core.experiments.readout import read_benchmark
from ptupcdr_core.experiments.sources import beside_single_sources, compared
from ptupcdr_core.gate.decision import judge, keep_verdict
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.modes.ranking.checkpoints import load_sides
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.report.page import make_report
from ptupcdr_core.report.store import read_provenance
from ptupcdr_core.serving.deployed import deployed_bundle
from ptupcdr_core.serving.forgetting import forget, named_in
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.sources.items import read_items
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.deployment import deploy
from ptupcdr_core.stages.evaluation import evaluate_cold_start
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.als import Entries, Plan, fold_in
from ptupcdr_core.training.beside import als_beside
from ptupcdr_core.training.implicit import train_factors

ITEMS, A_USER = 40, 20
BOTH = Pair(source="books+music", target="movies")
SETTINGS = Settings(embedding_size=4, ranking_size=8, epochs=2, beta=0.4)
SPANS = {"books": range(0, 240), "music": range(60, 300), "movies": range(0, 270)}


def entry(name: str, more: str = "scale = [1, 5]") -> str:
    return f'[domains.{name}]\nformat = "csv"\npath = "{name}.csv"\n{more}\n'


def catalog(folder: Path, sources: str, *entries: str) -> Catalog:
    path = folder / "domains.toml"
    path.write_text("\n".join([*entries, f'[[pairs]]\nsource = {sources}\ntarget = "movies"\n']))
    return load_catalog(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Books tell one taste of a person and music another; half of the movies are liked for either."""
    folder = tmp_path_factory.mktemp("sources")
    chance = np.random.default_rng(0)
    tastes = chance.choice([-1, 1], (300, 2))
    for name, users in SPANS.items():
        rows = []
        for user in users:
            for item in sorted(chance.choice(ITEMS, A_USER, replace=False)):
                taste = {"books": 0, "music": 1, "movies": item % 2}[name]
                liked = tastes[user, taste] * (1 if item // 2 % 2 else -1)
                stars = int(np.clip(np.round(3 + 1.3 * liked + chance.normal(0, 0.5)), 1, 5))
                if stars > 2 or chance.random() < 0.15:  # people take rather what they like
                    rows.append((f"user{user:03d}", f"{item:02d}", stars, chance.integers(10**6)))
        pack(folder / f"{name}.csv", as_delimited(rows))
    timed = 'columns = { timestamp = "timestamp" }\nscale = [1, 5]'
    known = catalog(folder, '["books", "music"]', *(entry(name, timed) for name in SPANS))
    made, warehouse = Home(folder / "home"), Warehouse(folder / "home" / "warehouse")
    for domain in known.domains:
        ingest_domain(domain, warehouse)
    predicted = SETTINGS.model_copy(update={"mode": "rating"})  # what each source alone is compared by
    of_each = [(Pair(source=name, target="movies"), predicted) for name in ("books", "music")]
    for pair, settings in [(BOTH, SETTINGS), *of_each]:
        build_split(pair, known.domain(pair.source), known.domain(pair.target), warehouse, settings)
        for side in ("source", "target"):
            pretrain(made, pair.key, side, settings, silent)
        train_bridges(made, pair.key, settings, silent)
        evaluate_cold_start(made, pair.key, settings)
    keep_verdict(made, BOTH.key, judge(made, BOTH.key), SETTINGS, model="", version="1", champion=None)
    deploy(made, BOTH.key, SETTINGS, silent)
    recommend_cold_users(made, BOTH.key, SETTINGS)
    return made


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


def look(home: Home, asset: str, query: str) -> list[tuple]:
    with Warehouse(home.warehouse).read(asset, BOTH.key) as connection:
        return connection.execute(query).fetchall()


def test_a_pair_of_several_sources_has_a_key_of_all_their_names(tmp_path: Path) -> None:
    known = catalog(tmp_path, '["books", "music"]', *map(entry, SPANS))
    assert known.pairs == (known.pair("books+music__movies"),)
    assert known.pairs[0].domains == ("books", "music", "movies")
    assert all(known.pairs_of(name) == known.pairs for name in SPANS)
    assert [part.name for part in known.domain("books+music").each] == ["books", "music"]
    assert catalog(tmp_path, '["books"]', *map(entry, SPANS)).pairs == (Pair(source="books", target="movies"),)


@pytest.mark.parametrize(
    ("sources", "music", "message"),
    [
        ('["books", "movies"]', "scale = [1, 5]", "expected another domain than the source 'movies'"),
        ('["books", "books"]', "scale = [1, 5]", "expected domains that differ, got books, books"),
        ('["books", "games"]', "scale = [1, 5]", "expected one of the domains books, movies, music, got 'games'"),
        ("[]", "scale = [1, 5]", r"source: Input should be a valid string, got \[\]"),
        ('["books", "music"]', "scale = [1, 10]", "books with stars from 1 to 5, music with stars from 1 to 10"),
        ('["books", "music"]', 'feedback = "implicit"', "books with stars from 1 to 5, music with events"),
    ],
)
def test_sources_that_are_not_one_are_refused(tmp_path: Path, sources: str, music: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        catalog(tmp_path, sources, entry("books"), entry("movies"), entry("music", music))


def test_item_ids_say_of_which_domain_they_are_and_titles_go_by_them(tmp_path: Path, home: Home) -> None:
    domains = dict(look(home, "domain_splits", "select domain, min(item_id) from split_source_items group by domain"))
    assert domains == {"books": "books:00", "music": "music:00"}
    assert look(home, "domain_splits", "select shared_item_ids from split_summary") == [(ITEMS,)], "by their own ids"
    for name in ("books", "music"):
        pack(tmp_path / f"{name}-items.csv", f"item_id,title\n00,First of {name}\n".encode())
    more = 'scale = [1, 5]\nitems = {{ path = "{}-items.csv" }}'
    known = catalog(
        tmp_path, '["books", "music"]', *(entry(name, more.format(name)) for name in ("books", "music")),
        entry("movies"),
    )  # fmt: skip
    assert read_items(known.domain("books+music")).title("music:00") == "First of music"


def test_whoever_has_any_source_and_no_target_is_cold(home: Home) -> None:
    cold = look(home, "domain_splits", "select user_id from split_users where cohort = 'cold' order by user_id")
    assert [user for (user,) in cold] == [f"user{n:03d}" for n in range(270, 300)]
    assert not look(home, "domain_splits", "select * from split_users where cohort = 'target_only'")


def test_histories_are_merged_by_time(home: Home) -> None:
    rows = look(
        home, "domain_splits",
        'select domain, "timestamp" from split_histories join split_source_ratings using (user_index, item_index) '
        "join split_source_items using (item_index) join split_users using (user_index) "
        "where user_id = 'user100' order by position",
    )  # fmt: skip
    assert {domain for domain, _ in rows} == {"books", "music"}
    assert [time for _, time in rows] == sorted(time for _, time in rows)


def test_without_times_the_last_of_each_source_are_the_last_of_all(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse")
    for name, count in (("books", 30), ("music", 3), ("movies", 2)):
        rows = [(f"user{user}", f"{item:02d}", 5, 0) for user in range(60) for item in range(count)]
        pack(tmp_path / f"{name}.csv", as_delimited(rows))
    known = catalog(tmp_path, '["books", "music"]', *map(entry, SPANS))
    for domain in known.domains:
        ingest_domain(domain, warehouse)
    build_split(known.pairs[0], known.domain("books+music"), known.domain("movies"), warehouse, Settings())
    with warehouse.read("domain_splits", known.pairs[0].key) as connection:
        last = connection.execute(
            "select item_id from split_histories join split_source_items using (item_index) where user_index = 1 "
            "order by position desc limit 6"
        ).fetchall()
    assert {item for (item,) in last} == {"books:29", "books:28", "books:27", "music:02", "music:01", "music:00"}


def test_factors_beside_each_other_are_those_of_each_domain() -> None:
    rng, blocks = np.random.default_rng(0), Blocks((10, 15))
    users, items = (rng.integers(1, most + 1, 400, dtype=np.int32) for most in (30, 25))
    alone = users > 25
    users, items = users[~alone | (items > 10)], items[~alone | (items > 10)]
    values = rng.normal(size=len(users)).astype(np.float32)
    ridge = Ridge(2.0, weighted=False)
    plan = Plan(4, ridge, ridge, iterations=3, seed=0, users_last=True)
    made = als_beside(
        Entries(users, items, values, 30, 25), blocks, plan, on_iteration=lambda iteration, p, q: None, engine=COMPILED
    )
    second = items > 10
    vectors = np.concatenate([np.zeros((1, 4), np.float32), made[1][11:, 4:]])
    own = fold_in(
        compress(users[second], items[second] - np.int32(10), values[second], 30), vectors, regularization=2.0,
        weighted=False,
    )  # fmt: skip
    np.testing.assert_allclose(made[0][:, 4:], own, atol=1e-5)
    assert not made[1][1:11, 4:].any()
    assert not made[1][11:, :4].any()
    assert not made[0][26:, :4].any(), "who has nothing in the first domain has zeros there"


def test_whoever_has_nothing_in_a_source_stands_at_its_mean() -> None:
    rng, blocks = np.random.default_rng(0), Blocks((10, 15))
    users, items = np.divmod(rng.choice(30 * 25, 300, replace=False), 25)
    ratings = Ratings(*(np.asarray(part + 1, np.int32) for part in (users, items)), np.ones(300, np.float32))
    ratings = ratings.where((ratings.users > 10) | (ratings.items <= 10))
    order = np.lexsort((ratings.items, ratings.users))
    ratings = Ratings(*(part[order] for part in (ratings.users, ratings.items, ratings.stars)))
    factors = train_factors(ratings, 30, 25, blocks=blocks, size=3, seed=0, on_epoch=silent, users_last=True)
    space = RankingSpace.of(factors, ratings, blocks)
    vectors = space.source_vectors(ratings)
    assert not vectors[1:11, 3:6].any()
    told = blocks.counts(ratings.users, ratings.items, 30)[:, 1] > 0
    np.testing.assert_allclose(vectors[told, 3:6].mean(0), 0, atol=1e-5)
    again = RankingSpace.from_tensors(space.tensors())
    np.testing.assert_array_equal(again.fold_in(ratings, 30), vectors)
    # Without their only item of a source, people stand where they would if they had never taken it.
    [place, *_] = [n for n in range(len(ratings)) if ratings.items[n] > 10]
    only = ratings.where(np.arange(len(ratings)) != place).where(ratings.users[np.arange(len(ratings)) != place] > 0)
    left = space.leave_out(ratings, 30, np.array([place]))[0]
    np.testing.assert_allclose(left, space.fold_in(only, 30)[ratings.users[place]], atol=1e-4)


def test_both_sources_together_are_better_than_each_alone(home: Home) -> None:
    table = beside_single_sources(home, BOTH).set_index("source")
    assert set(table["mode"]) == {"rating"}, "the others make no lists"
    assert table["users"].nunique() == 1, "the same test users"
    alone = table.drop("books+music")
    assert table["rmse"]["books+music"] < 0.9 * alone["rmse"].min()
    np.testing.assert_allclose(alone["rmse_more"], alone["rmse"] - table["rmse"]["books+music"])
    assert (alone["rmse_p"] < 0.01).all()
    assert np.isnan(table["rmse_p"]["books+music"])
    lists = dict(
        look(
            home, "cold_start_evaluation", "select method, ndcg_at_10 from cold_start_evaluation where mode = 'ranking'"
        )
    )
    assert lists["ptupcdr"] > lists["popularity"]


def test_the_page_shows_them_beside_each_alone_and_is_out_of_date_after_another_evaluation(home: Home) -> None:
    text = html.unescape(make_report(home, BOTH.key, SETTINGS).path.read_text())
    assert re.search(r"RMSE 0\.\d{4} with books\+music; books alone \+0\.\d{4} \(p < 0\.\d{3}\), music alone \+0", text)
    assert read_provenance(home, BOTH.key) is not None
    evaluation = home.warehouse / "cold_start_evaluation" / f"{BOTH.alone[0].key}.duckdb"
    os.utime(evaluation)
    assert read_provenance(home, BOTH.key) is None


def test_where_sources_measured_nobody_in_common_there_is_nothing_to_compare() -> None:
    one, other = (pd.DataFrame({"user_id": [user], "ratings": [1], "ndcg_at_10": [0.5]}) for user in ("a", "b"))
    assert compared("ranking", {"books+music": one, "books": other}).empty


def test_people_who_come_later_are_served_as_training_would_have_it(home: Home) -> None:
    """By ids that say of which domain an item is; reasons name them so."""
    data = load_pair(Warehouse(home.warehouse), BOTH.key)
    served = deployed_bundle(home, BOTH.key).mode("ranking")[1]
    users = data.cohorts["cold"]
    people = people_of(Warehouse(home.warehouse), BOTH.key, users, served.reading.history_length, 3.0)
    trained = load_sides(home, data).source.source_vectors(data.source)[users]
    np.testing.assert_array_equal(served.part.source.fold_in(people.ratings, len(people))[1:], trained)
    found = recommend(home, BOTH.key, "user280", 3)
    assert {reason.item_id.split(":")[0] for item in found for reason in item.reasons} <= {"books", "music"}
    rated = {"user_id": ["new"] * 2, "item_id": ["music:00", "00"], "rating": ["5", "5"]}
    new = recommend_new(home, BOTH.key, pa.table(rated), 3)
    assert (list(new.known_items), list(new.unknown_items)) == ([1], [1])


def test_a_search_measures_settings_on_both_sources(home: Home) -> None:
    data = load_pair(Warehouse(home.warehouse), BOTH.key)
    assert measure_ratings(data, SETTINGS)["rmse"] < data.target_train.stars.std()
    assert 0 < measure_lists(data, SETTINGS)["ndcg_at_10"] < 1


def test_a_night_serves_who_came_to_one_of_the_sources_and_no_longer_who_came_to_the_target(
    home: Home, tmp_path: Path
) -> None:
    copy = Home(shutil.copytree(home.root, tmp_path / "home"))
    for name, row in (("music", "came-today,03,5,9"), ("movies", "user280,03,5,9")):
        rows = (home.root.parent / f"{name}.csv").read_bytes()
        pack(tmp_path / f"{name}.csv", rows + row.encode() + b"\n")
    shutil.copy(home.root.parent / "books.csv", tmp_path)
    timed = 'columns = { timestamp = "timestamp" }\nscale = [1, 5]'
    known = catalog(tmp_path, '["books", "music"]', *(entry(name, timed) for name in SPANS))
    for name in ("music", "movies"):
        ingest_domain(known.domain(name), Warehouse(copy.warehouse))
    recommend_cold_users(copy, BOTH.key, SETTINGS)
    query = "select distinct user_id from recommendations where cohort = 'cold'"
    before, after = ({user for (user,) in look(own, "recommendations", query)} for own in (home, copy))
    assert after - before == {"came-today"}
    assert before - after == {"user280"}
    told = "select distinct unnest(reasons) from recommendations where user_id = 'came-today'"
    reasons = look(copy, "recommendations", told)
    assert reasons in ([], [("music:03",)])


def test_a_benchmark_measures_lists_and_ratings_from_both(home: Home) -> None:
    known = catalog(home.root.parent, '["books", "music"]', *(entry(name) for name in SPANS))
    grid = Grid(
        betas=(0.4,), seeds=(1,), base_models=("mf",), methods=("item_mean", "ptupcdr"), recipes=("calibrated",)
    )
    sides = known.domain(BOTH.source), known.domain(BOTH.target)
    errors = run_benchmark(home, BOTH, *sides, grid, SETTINGS, lambda progress: None).set_index("method")
    assert errors["rmse"]["ptupcdr"] < errors["rmse"]["item_mean"]
    lists = read_benchmark(home, BOTH.key, "benchmark_lists").set_index("method")
    assert lists["ndcg_at_10"]["ptupcdr"] > 0.95 * lists["ndcg_at_10"]["popularity"]


def test_both_are_fitted_again_on_everybody_and_forget_a_person_of_either(home: Home, tmp_path: Path) -> None:
    copy = Home(shutil.copytree(home.root, tmp_path / "home"))
    refitted = SETTINGS.model_copy(update={"refit": True})
    deploy(copy, BOTH.key, refitted, silent)
    assert {own.origin.refitted for own in deployed_bundle(copy, BOTH.key).modes.values()} == {True}
    assert recommend(copy, BOTH.key, "user280", 3)
    found = forget(copy, ["user280", "user000"])
    assert {"raw_ratings/music: raw_ratings", "raw_ratings/books: raw_ratings"} <= found.keys()
    assert not [*named_in(copy.warehouse, ["user280", "user000"])]
    with pytest.raises(UnknownUserError, match="'user280' is not a cold-start user"):
        recommend(copy, BOTH.key, "user280", 3)
