"""A catalog says what there is; what is wrong in it is named, all of it, with its key and what was expected."""

from pathlib import Path

import pytest

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import CatalogError
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import catalog_path_from_environment

BOOKS = """
[domains.books]
format = "csv"
path = "books.csv.gz"
columns = { user = "u", item = "i", rating = "r", timestamp = "t" }
scale = [1, 5]
"""
MOVIES = """
[domains.movies]
format = "amazon-2014"
path = "/data/reviews_*_5.json.gz"
"""
PAIR = """
[[pairs]]
source = "books"
target = "movies"
"""


def load(tmp_path: Path, text: str):
    path = tmp_path / "domains.toml"
    path.write_text(text, encoding="utf-8")
    return load_catalog(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    prefix = f"{tmp_path / 'domains.toml'}: "
    lines = str(caught.value).splitlines()
    assert all(line.startswith(prefix) for line in lines), "each problem names the file"
    return [line.removeprefix(prefix) for line in lines]


def test_a_catalog_says_what_there_is(tmp_path: Path) -> None:
    catalog = load(tmp_path, BOOKS + MOVIES + PAIR)
    books = catalog.domain("books")
    assert (books.format, books.path, books.scale, books.folder) == ("csv", "books.csv.gz", (1, 5), tmp_path)
    assert (books.columns.user, books.columns.timestamp) == ("u", "t")
    assert catalog.domain("movies").scale == (1, 5), "Amazon's stars need no scale"
    assert catalog.pair("books__movies") is catalog.pairs[0]
    assert catalog.pairs_of("movies") == catalog.pairs
    assert catalog.pairs_of("music") == ()


def test_the_timestamp_may_be_left_out(tmp_path: Path) -> None:
    catalog = load(tmp_path, (BOOKS + MOVIES + PAIR).replace(', timestamp = "t"', ""))
    assert catalog.domain("books").columns.timestamp is None


def test_the_demo_catalog_of_the_checkout_is_valid() -> None:
    catalog = load_catalog(catalog_path_from_environment({}))
    assert [domain.name for domain in catalog.domains] == ["books", "movies", "music"]
    assert [pair.key for pair in catalog.pairs] == ["books__movies", "books__music", "movies__music"]


def test_catalogs_stand_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = load(tmp_path, BOOKS + MOVIES + PAIR)
    second = load(
        tmp_path / "other", BOOKS + MOVIES + PAIR.replace('"books"\ntarget = "movies"', '"movies"\ntarget = "books"')
    )
    assert first.pairs[0].key == "books__movies"
    assert second.pairs[0].key == "movies__books"
    assert second.domain("books").folder == tmp_path / "other"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOOKS.replace("scale = [1, 5]", "") + MOVIES + PAIR, "domains.books.scale: missing, expected [lowest"),
        (BOOKS.replace("[1, 5]", "[5, 1]") + MOVIES + PAIR, "domains.books.scale: expected [lowest, highest] rating"),
        (BOOKS.replace("[1, 5]", "[1, inf]") + MOVIES + PAIR, "domains.books.scale: expected [lowest, highest] rating"),
        (BOOKS.replace("[1, 5]", "[-1e999, 5]") + MOVIES + PAIR, "domains.books.scale: expected [lowest, highest]"),
        (BOOKS.replace("[1, 5]", "[-1e300, 1e300]") + MOVIES + PAIR, "domains.books.scale: expected [lowest, highest]"),
        (BOOKS.replace("[1, 5]", "[1]") + MOVIES + PAIR, "domains.books.scale[1]: Field required"),
        (BOOKS.replace("[1, 5]", '["low", 5]') + MOVIES + PAIR, "domains.books.scale[0]: Input should be a valid"),
        (BOOKS.replace('"csv"', '"xlsx"') + MOVIES + PAIR, "domains.books.format: expected one of demo, csv"),
        (BOOKS.replace("path =", "paht =") + MOVIES + PAIR, "domains.books.paht: unknown key"),
        (BOOKS.replace("user =", "usr =") + MOVIES + PAIR, "domains.books.columns.usr: unknown key"),
        (BOOKS + "folder = '/'\n" + MOVIES + PAIR, "domains.books.folder: unknown key"),
        (BOOKS.replace('path = "books.csv.gz"', "") + MOVIES + PAIR, "domains.books.path: missing, expected a file"),
        (
            BOOKS.replace("books.csv.gz", "ftp://me:pw@b/x.csv") + MOVIES + PAIR,
            "domains.books.path: expected a file, a glob, or an http(s) or s3 address, got ftp://***@b/x.csv;",
        ),
        (BOOKS + "table = 't'\n" + MOVIES + PAIR, "domains.books.table: expected with format duckdb"),
        (BOOKS.replace('"csv"', '"duckdb"') + MOVIES + PAIR, "domains.books.table: expected with format duckdb"),
        (BOOKS + MOVIES + "columns = { user = 'u' }\n" + PAIR, "domains.movies.columns: not expected"),
        (BOOKS + "[domains.movies]\nformat = 'demo'\npath = 'x'\n" + PAIR, "domains.movies.path: not expected"),
        (BOOKS + MOVIES + PAIR.replace('"movies"', '"music"'), "pairs[0].target: expected one of the domains books"),
        (BOOKS + MOVIES + PAIR.replace('"movies"', '"books"'), "pairs[0].target: expected another domain than"),
        (BOOKS + MOVIES + PAIR + PAIR, "pairs[1]: books__movies is listed twice"),
        (BOOKS + MOVIES + PAIR + "weight = 1\n", "pairs[0].weight: unknown key"),
        (BOOKS + MOVIES + "[[pairs]]\nsource = 'books'\n", "pairs[0].target: Field required"),
        (BOOKS + MOVIES, "pairs: expected at least one table [[pairs]]"),
        (PAIR, "domains: expected at least one table [domains.NAME]"),
        (BOOKS + MOVIES + PAIR + "[settings]\nbeta = 0.5\n", "settings: unknown key"),
        ("domains = 3\n" + PAIR, "domains: expected at least one table"),
        ("[domains]\nbooks = 3\n" + PAIR, "domains.books: expected a table"),
        (BOOKS + MOVIES + "[pairs]\nsource = 'books'\n", "pairs: expected at least one table [[pairs]]"),
        ("[domains.books", "expected a TOML file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_key_and_what_was_expected(tmp_path: Path, text: str, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(tmp_path, text)), problems(tmp_path, text)


@pytest.mark.parametrize("name", ["a__b", "_a", "a_", "a b", "a/b", "a.b", ".", "..", "ä", "*", "a'b"])
def test_a_name_that_would_break_a_partition_key_is_refused(tmp_path: Path, name: str) -> None:
    text = BOOKS.replace("domains.books", f'domains."{name}"') + MOVIES + PAIR.replace('"books"', f'"{name}"')
    assert f"domains.{name}: expected a name of letters" in "\n".join(problems(tmp_path, text))


def test_names_that_one_file_system_takes_for_the_same_are_refused(tmp_path: Path) -> None:
    text = BOOKS + BOOKS.replace("domains.books", "domains.Books") + MOVIES + PAIR
    assert sum("differ by more than case" in problem for problem in problems(tmp_path, text)) == 2


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = BOOKS.replace("scale = [1, 5]", "") + MOVIES + "tabel = 't'\n" + PAIR + PAIR
    assert len(problems(tmp_path, text)) == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"domains\.toml: no such file; PTUPCDR_CATALOG"):
        load_catalog(tmp_path / "domains.toml")


def test_asking_for_what_is_not_there_lists_what_is(tmp_path: Path) -> None:
    catalog = load(tmp_path, BOOKS + MOVIES + PAIR)
    with pytest.raises(CatalogError, match="no domain 'music'; there are books, movies"):
        catalog.domain("music")
    with pytest.raises(CatalogError, match="no pair 'movies__books'; there are books__movies"):
        catalog.pair("movies__books")


def test_a_domain_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Domain(name="books", format="demo").name = "movies"  # type: ignore[misc]
