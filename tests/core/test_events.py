"""Events without stars: repeated ones are one, every row is accounted for, and lists alone are made from them."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from ratings_files import rejected
from small_lineage import PAIR, domains, read, run, write_ratings

from ptupcdr_core import recommend, recommend_new
from ptupcdr_core.catalog import Columns, Domain, Pair
from ptupcdr_core.data.pair_data import Scale, load_outline, load_pair
from ptupcdr_core.errors import CatalogError, SettingsError
from ptupcdr_core.experiments.benchmark import run_benchmark
from ptupcdr_core.experiments.grid import Grid
from ptupcdr_core.experiments.search import tune
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.report.lists import gather_lists, judge_lists
from ptupcdr_core.report.page import make_report
from ptupcdr_core.report.style import style
from ptupcdr_core.serving.deployed import deployed_bundle
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.model_folders import standing
from ptupcdr_core.store.warehouse import Warehouse

RANKS = Settings(mode="ranking", ranking_size=16)
ROWS = """who,what,seconds,when
ann,a,30,100
ann,a,200,50
ann,b,5,60
bob,a,-1,70
bob,a,long,80
bob,a,40,
,a,40,90
"""
WATCHED = Columns(user="who", item="what", weight="seconds", timestamp="when")


def watched(path: Path, **more: object) -> Domain:
    return Domain.model_validate(
        {"name": "books", "format": "csv", "path": str(path), "feedback": "implicit", "columns": WATCHED, **more}
    )


def without_stars(sides: tuple[Domain, Domain]) -> tuple[Domain, Domain]:
    source, target = (side.model_copy(update={"feedback": "implicit"}) for side in sides)
    return source, target


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ratings(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def rated(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Lists of the rated people alone, everything they rated in their histories."""
    home = Home(tmp_path_factory.mktemp("rated"))
    run(home, domains(files), RANKS.model_copy(update={"positive_above": 0.0}))
    return home


@pytest.fixture(scope="module")
def taken(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same people and items, their stars never read."""
    home = Home(tmp_path_factory.mktemp("taken"))
    run(home, without_stars(domains(files)), RANKS.model_copy(update={"mode": "both"}))
    return home


def test_repeated_events_are_one(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(ROWS)
    warehouse = Warehouse(tmp_path / "warehouse")
    report = ingest_domain(watched(tmp_path / "log.csv", least_weight=10), warehouse)
    assert (report.rows_read, report.kept, report.users, report.items) == (7, 3, 2, 1)
    assert rejected(warehouse) == [
        ("weight_below_floor", 3),
        ("weight_below_floor", 4),
        ("weight_not_a_number", 5),
        ("empty_user_id", 7),
    ]
    with warehouse.read("raw_ratings", "books") as connection:
        rows = connection.execute(
            'select user_id, item_id, events, weight, first_time, "timestamp" from raw_ratings'
        ).fetchall()
        assert connection.execute("select sum(kept), sum(rejected) from ingest_counts").fetchall() == [(3, 4)]
    assert rows == [("ann", "a", 2, 230.0, 50.0, 100.0), ("bob", "a", 1, 40.0, None, None)]


def test_json_lines_need_no_rating(tmp_path: Path) -> None:
    lines = [{"user_id": "ann", "item_id": "a"}, {"user_id": "bob", "item_id": "b"}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    entry = watched(tmp_path / "log.jsonl", format="jsonl", columns=Columns())
    assert ingest_domain(entry, Warehouse(tmp_path / "warehouse")).kept == 2


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("scale = [1, 5]", "scale: not expected, events have no stars"),
        ('columns = { rating = "stars" }', "columns.rating: not expected"),
        ("least_weight = 3", "least_weight: expected with columns.weight"),
    ],
)
def test_a_catalog_with_stars_for_events_is_refused(tmp_path: Path, keys: str, problem: str) -> None:
    text = f'[domains.books]\nformat = "csv"\npath = "x.csv"\nfeedback = "implicit"\n{keys}\n'
    text += '[domains.movies]\nformat = "demo"\n'
    (tmp_path / "domains.toml").write_text(text + '[[pairs]]\nsource = "books"\ntarget = "movies"\n')
    with pytest.raises(CatalogError, match=problem):
        load_catalog(tmp_path / "domains.toml")


def test_lists_are_those_of_the_rated_files(rated: Home, taken: Home) -> None:
    """Nothing of lists reads stars but the threshold of histories, and every event is positive."""
    query = "select method, ndcg_at_10 from cold_start_evaluation where mode = 'ranking' order by method"
    with_stars, without = (dict(read(home, "cold_start_evaluation", query)) for home in (rated, taken))
    assert with_stars.keys() == without.keys()
    for method in with_stars:
        assert without[method] == pytest.approx(with_stars[method], rel=1e-6), method


def test_nobody_makes_stars_up(taken: Home, rated: Home) -> None:
    for table in ("split_histories", "split_source_ratings", "split_target_ratings"):
        query = f"select count(*), count(rating) from {table}"
        [(as_many, _)] = read(rated, "domain_splits", query)
        assert read(taken, "domain_splits", query) == [(as_many, 0)]


def test_there_is_no_mode_but_ranking(taken: Home, rated: Home) -> None:
    for home in (taken, rated):
        assert [*deployed_bundle(home, PAIR).modes] == ["ranking"]
        assert [folder.name for folder in standing(home.models, "source_model", PAIR)] == ["source_model_ranking"]
        assert read(home, "cold_start_evaluation", "select distinct mode from cold_start_evaluation") == [("ranking",)]
        assert read(home, "champion", "select mode, promoted from champion") == [("ranking", True)]
        assert read(home, "warm_start_evaluation", "select count(*) from warm_start_evaluation") == [(0,)]
    outline = load_outline(Warehouse(taken.warehouse), PAIR)
    with pytest.raises(SettingsError, match="events without stars"):
        modes_of(Settings(recipe="published"), outline)


def test_one_side_with_stars_is_not_enough_to_predict_ratings(taken: Home) -> None:
    data = load_pair(Warehouse(taken.warehouse), PAIR)
    assert not data.rated
    half = replace(data, target_scale=Scale(1, 5))
    assert [mode.name for mode in modes_of(Settings(), half)] == ["ranking"]


@pytest.mark.parametrize("without", ["source", "target"])
def test_a_pair_may_mix_stars_and_events(without: str, files: Path, tmp_path: Path, rated: Home) -> None:
    """Trained whole, by lists: of the side that has stars the good ones count as positive, as where both have."""
    sides, events = domains(files), without_stars(domains(files))
    home = Home(tmp_path / "home")
    run(home, (events[0], sides[1]) if without == "source" else (sides[0], events[1]), RANKS)
    assert [*deployed_bundle(home, PAIR).modes] == ["ranking"]
    query = "select ndcg_at_10 from cold_start_evaluation where mode = 'ranking' and method = 'ptupcdr'"
    [(alone,)], [(mixed,)] = read(rated, "cold_start_evaluation", query), read(home, "cold_start_evaluation", query)
    assert mixed == pytest.approx(alone, rel=0.1)
    rows = "select count(*), count(rating) from split_{}_ratings"
    for side in ("source", "target"):
        [(as_many, stars)] = read(home, "domain_splits", rows.format(side))
        assert stars == (0 if side == without else as_many)
    columns = {name for name, *_ in read(home, "recommendations", "describe recommendations")}
    assert "score" in columns
    assert "stars" not in columns


def test_the_page_says_nothing_of_stars(taken: Home) -> None:
    report = make_report(taken, PAIR, RANKS)
    text = report.path.read_text()
    assert "PTUPCDR's lists" in report.headline
    assert "NDCG@10" in text
    body = text.split("</head>")[1].replace("<dt>most_ratings</dt>", "")  # the name of a setting
    for word in ("stars", "★", "rating", "RMSE", "MAE"):
        assert word not in body, word


def test_the_page_explains_every_method_of_its_table(taken: Home) -> None:
    rows = judge_lists(gather_lists(taken, PAIR)).rows
    unexplained = [row["name"] for row in rows if not row["explanation"]]
    baselines = {style(name).name for name in ("popularity", "item_knn", "kernel_ridge", "joint_als", "cgsp")}
    assert (unexplained, baselines - {row["name"] for row in rows}) == ([], set())


def test_people_are_recommended_to_without_a_rating(taken: Home) -> None:
    [(user,)] = read(taken, "domain_splits", "select user_id from split_users where cohort = 'cold' limit 1")
    stored = recommend(taken, PAIR, user, k=3)
    assert [found.rank for found in stored] == [1, 2, 3]
    query = (
        'select user_id, item_id, "timestamp" from split_source_ratings join split_users using (user_index) '
        f"join split_source_items using (item_index) where user_id = '{user}'"
    )
    rows = zip(*read(taken, "domain_splits", query), strict=True)
    history = pa.table(dict(zip(("user_id", "item_id", "timestamp"), map(list, rows), strict=True)))
    new = recommend_new(taken, PAIR, history, 3).recommendations
    assert new["item_id"].to_pylist() == [found.item_id for found in stored]


def test_what_is_about_ratings_says_so(taken: Home, files: Path) -> None:
    source, target = without_stars(domains(files))
    pair = Pair(source=source.name, target=target.name)
    with pytest.raises(SettingsError, match="search by ranked lists"):
        tune(taken, pair, source, target, Settings(), lambda progress: None, trials=1)
    with pytest.raises(SettingsError, match="modes rating where a domain has events without stars"):
        run_benchmark(taken, pair, source, target, Grid(modes=("rating",)), Settings(), lambda progress: None)


def test_a_search_by_lists_needs_no_stars(taken: Home, files: Path) -> None:
    source, target = without_stars(domains(files))
    pair = Pair(source=source.name, target=target.name)
    found = tune(taken, pair, source, target, RANKS, lambda progress: None, objective="ranking", trials=1)
    assert "positive_above" not in found.best.chosen
    assert found.best.value is not None
