"""Items with names, and which of them may be recommended today."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import Lineage
from small_lineage import PAIR, read

from ptupcdr_core import recommend, recommend_new
from ptupcdr_core.catalog import Domain
from ptupcdr_core.data.pair_data import target_item_ids
from ptupcdr_core.data.people import people_of
from ptupcdr_core.errors import CatalogError, SourceError
from ptupcdr_core.kernels.approximate_search import approximate_top_items
from ptupcdr_core.kernels.exact_search import Search, top_items
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file, deployed_bundle
from ptupcdr_core.serving.lists import best_lists
from ptupcdr_core.sources.items import Items, items_fingerprint, read_items
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

TABLE = "id,name,genre,on sale\nm1,The First,drama,yes\nm2,,comedy,no\nm3,Third,,1\n,Nobody,drama,maybe\n"
COLUMNS = 'columns = { item = "id", title = "name", group = "genre", eligible = "on sale" }'


def catalog(folder: Path, more: str) -> Domain:
    (folder / "domains.toml").write_text(
        f'[domains.movies]\nformat = "demo"\n{more}\n[domains.books]\nformat = "demo"\n'
        '[[pairs]]\nsource = "books"\ntarget = "movies"\n'
    )
    return load_catalog(folder / "domains.toml").domain("movies")


@pytest.fixture(scope="module")
def home(lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The small lineage's own split and bundle, by links; recommendations are made anew."""
    own = Home(tmp_path_factory.mktemp("items"))
    for kept in ("domain_splits", "raw_ratings", "deployed_model"):
        (own.warehouse / kept).mkdir(parents=True)
        for file in (lineage.home.warehouse / kept).iterdir():
            os.link(file, own.warehouse / kept / file.name)
    bundle = bundle_file(own, DEPLOYED, PAIR)
    bundle.parent.mkdir(parents=True)
    os.link(bundle_file(lineage.home, DEPLOYED, PAIR), bundle)
    return own


def test_an_item_table_is_read_as_the_catalog_names_it(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text(TABLE)
    found = read_items(catalog(tmp_path, f'items = {{ path = "movies.csv", {COLUMNS} }}'))
    assert found.titles == {"m1": "The First", "m3": "Third"}
    assert found.groups == {"m1": "drama", "m2": "comedy"}
    assert found.eligible == {"m1", "m3"}
    assert [found.title(item) for item in ("m1", "m2", "m9")] == ["The First", "m2", "m9"]
    assert found.known(["m1", "m2"]) == 0.5


def test_both_lists_of_eligible_items_must_hold(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text(TABLE)
    (tmp_path / "today.csv").write_text("sku\nm2\nm3\n")
    listed = 'eligible = { path = "today.csv", column = "sku" }'
    assert read_items(catalog(tmp_path, listed)).eligible == {"m2", "m3"}
    assert read_items(catalog(tmp_path, f'items = {{ path = "movies.csv", {COLUMNS} }}\n{listed}')).eligible == {"m3"}
    (tmp_path / "today.csv").write_text("sku\n")
    with pytest.raises(SourceError, match="no item is eligible today"):
        read_items(catalog(tmp_path, listed))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name\nm1,First\n", r"no column genre, on sale; it has id, name\. Set items\.columns"),
        (TABLE + "m4,Fourth,drama,perhaps\n", "row 5: eligible: expected one of 1, true, .* got 'perhaps'"),
    ],
)
def test_an_item_table_that_cannot_be_used_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "movies.csv").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_items(catalog(tmp_path, f'items = {{ path = "movies.csv", {COLUMNS} }}'))


def test_a_changed_item_table_makes_lists_anew_and_no_ratings(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text(TABLE)
    domain, plain = catalog(tmp_path, f'items = {{ path = "movies.csv", {COLUMNS} }}'), catalog(tmp_path, "")
    before = items_fingerprint(domain)
    (tmp_path / "movies.csv").write_text(TABLE + "m5,Fifth,drama,yes\n")
    assert items_fingerprint(domain) != before
    assert items_fingerprint(plain) == ""
    assert domain.entry() == plain.entry()


@pytest.mark.parametrize("search", ["exact", "approximate"])
def test_lists_are_full_and_exact_where_most_items_are_not_eligible(lineage: Lineage, home: Home, search: str) -> None:
    warehouse, k = Warehouse(home.warehouse), 5
    few = frozenset(target_item_ids(warehouse, PAIR)[1::17])
    settings = lineage.settings.model_copy(update={"search": search, "top_k": k})
    report = recommend_cold_users(home, PAIR, settings, items=Items({item: item.upper() for item in few}, eligible=few))
    assert report.metrics["items"] == len(few)
    assert report.metrics["titles_known"] == 1
    assert "rating_recall" not in report.metrics, "none is missed: so few are searched for exactly"
    rows = read(
        home, "recommendations", "select user_id, list(item_id order by rank) from recommendations group by all"
    )
    everybody = read(home, "domain_splits", "select count(*) from split_users where cohort in ('cold', 'test')")
    assert [(len(rows),)] == everybody
    own = deployed_bundle(home, PAIR)
    for user, items in rows[:20]:
        everything = [found.item_id for found in recommend(home, PAIR, user, k=len(own.mode()[1].target_ids))]
        assert items == [item for item in everything if item in few][:k]
    query = "select count(*) from recommendations where title is distinct from upper(item_id)"
    assert read(home, "recommendations", query) == [(0,)]


@pytest.mark.parametrize("search", [top_items, approximate_top_items])
def test_of_a_hundred_thousand_items_the_few_eligible_ones_make_full_and_exact_lists(
    lineage: Lineage, home: Home, search: Search
) -> None:
    """A graph of all of them would be searched in vain: the best that it finds may not be recommended today."""
    count, k = 100_000, 10
    served, rng = deployed_bundle(home, PAIR).mode()[1], np.random.default_rng(0)
    vectors = rng.normal(size=(count + 1, served.part.target.vectors.shape[1])).astype(np.float32)
    many = TargetItems(vectors, rng.normal(size=count + 1).astype(np.float32))
    ids = pa.array(["", *(f"item {n}" for n in range(count))])
    stocked = replace(served, part=replace(served.part, target=many, stars=None), target_ids=ids)
    few = frozenset(ids[n].as_py() for n in rng.choice(np.arange(1, count + 1), 200, replace=False))
    offering = stocked.offering(Items(eligible=few))
    people = people_of(Warehouse(home.warehouse), PAIR, np.arange(1, 31, dtype=np.int32), 20, 3.0)
    embeddings, _ = stocked.part.embed(people)
    [(_, found, _)] = best_lists(offering.part, people, embeddings, k, np.zeros(0, np.int64), search)
    scores = np.where([item in few for item in ids.to_pylist()], many.offset + embeddings @ vectors.T, -np.inf)
    for own, best in zip(found, (-scores).argsort(axis=1), strict=True):
        assert offering.target_ids.take(pa.array(own)).to_pylist() == ids.take(pa.array(best[:k])).to_pylist()


@pytest.mark.parametrize("search", ["exact", "approximate"])
def test_lists_have_no_more_of_a_group_than_the_catalog_allows(lineage: Lineage, home: Home, search: str) -> None:
    """Exactly: surplus items make way for the next ones, and items without a group are not counted."""
    ids, k = target_item_ids(Warehouse(home.warehouse), PAIR)[1:], 6
    groups = {item: f"brand {n % 3}" for n, item in enumerate(ids) if n % 7}
    known = Items(groups=groups, most_of_group=1)
    settings = lineage.settings.model_copy(update={"search": search, "top_k": k})
    recommend_cold_users(home, PAIR, settings, items=known)
    rows = read(
        home, "recommendations", "select user_id, list(item_id order by rank) from recommendations group by all"
    )
    for user, items in rows[:5]:
        allowed, of_group = [], set()
        for found in recommend(home, PAIR, user, k=len(ids)):
            group = groups.get(found.item_id)
            if group is None or group not in of_group:
                allowed.append(found.item_id)
                of_group.add(group)
        assert items == allowed[:k]
        assert [found.item_id for found in recommend(home, PAIR, user, k=k, items=known)] == allowed[:k]


def test_the_cap_of_a_group_wants_groups(tmp_path: Path) -> None:
    entry = 'items = { path = "movies.csv", most_of_group = 2, columns = { item = "id"%s } }'
    (tmp_path / "movies.csv").write_text(TABLE)
    assert read_items(catalog(tmp_path, entry % ', group = "genre"')).most_of_group == 2
    with pytest.raises(CatalogError, match=r"items\.most_of_group: expected with items\.columns\.group"):
        catalog(tmp_path, entry % "")


def test_single_calls_leave_out_what_is_excluded(home: Home) -> None:
    [(user,)] = read(home, "domain_splits", "select user_id from split_users where cohort = 'cold' limit 1")
    first, *others = recommend(home, PAIR, user, k=4)
    again = recommend(home, PAIR, user, k=3, exclude=frozenset([first.item_id]))
    assert [found.item_id for found in again] == [found.item_id for found in others]
    history = pa.table({"user_id": ["me"], "item_id": ["books-0001"], "rating": [5.0]})
    best = recommend_new(home, PAIR, history, 2).recommendations["item_id"].to_pylist()
    left = recommend_new(home, PAIR, history, 1, exclude=frozenset(best[:1])).recommendations
    assert left["item_id"].to_pylist() == best[1:]
    with pytest.raises(SourceError, match=r"none of the \d+ target items may be recommended"):
        recommend(home, PAIR, user, items=Items(eligible=frozenset(["gone"])))


def test_a_bundle_carries_what_was_known_of_its_items(home: Home, tmp_path: Path) -> None:
    plain = deployed_bundle(home, PAIR)
    groups = {"movies-0001": "drama", "movies-0002": "drama"}
    few = Items({"movies-0001": "M", "movies-0002": "☃"}, groups, eligible=frozenset(groups), most_of_group=1)
    known = {"source": Items({"books-0001": "Élan"}), "target": few}
    links = {"source": known["source"], "target": replace(few, links={"movies-0001": "https://shop.example"})}
    Bundle(PAIR, plain.modes, links).save(tmp_path / "bundle.safetensors")
    found = Bundle.load(tmp_path / "bundle.safetensors")
    assert found.items == known, "addresses are for pages alone"
    assert plain.items == {}
    assert found.digest != plain.digest
    assert found.modes.keys() == plain.modes.keys()
    np.testing.assert_array_equal(found.mode()[1].part.target.vectors, plain.mode()[1].part.target.vectors)
