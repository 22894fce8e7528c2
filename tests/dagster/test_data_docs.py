"""Data Docs: a page of the last validation of an asset partition, linked from its checks, and an index of all."""

from pathlib import Path

import duckdb
import pytest
from conftest import tamper

from ptupcdr_core.serving.forgetting import forget
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks import ratings
from ptupcdr_dagster.checks.data_docs import page_of
from ptupcdr_dagster.checks.facts import Fact
from ptupcdr_dagster.partitions import CATALOG

HOSTILE = "<script>alert(1)</script>"


def test_the_page_is_of_the_last_validation(home: Home) -> None:
    from ptupcdr_dagster.checks.validation import validate_table

    warehouse, domain = Warehouse(home.warehouse), CATALOG.domain("books")
    ingest_domain(domain, warehouse)
    file, page = warehouse.file("raw_ratings", "books"), page_of(home, "raw_ratings", "books")

    def validated() -> str:
        scale = ratings.parameters_of(domain)
        made = validate_table(file, "raw_ratings", "raw_ratings", ratings.FACTS, scale, documented=(home, "books"))
        assert {str(result.metadata["data_docs"].value) for result in made} == {page.as_uri()}
        return (home.data_docs / "index.html").read_text()

    index = validated()
    text = page.read_text()
    assert "raw_ratings of books" in text
    assert all(fact.description in text for fact in ratings.FACTS if "unexpected_rows_query" in str(fact.expectations))
    assert "://" not in text, "it fetches nothing from other servers"
    assert str(page.relative_to(home.data_docs)) in index
    met = index.partition("</a><td>")[2].partition("<td>")[0]
    assert met.split(" of ")[0] == met.split(" of ")[1]
    tamper(file, "update raw_ratings set rating = 9 where rowid = 0")
    assert met not in validated(), "one is no longer met"
    assert [found.stem for found in home.data_docs.glob("*/*.html")] == ["books"]


@pytest.fixture
def hostile(home: Home, tmp_path: Path) -> Path:
    """The page of a table with a hostile id, of which every expectation fails."""
    from ptupcdr_dagster.checks.validation import validate_table

    file = tmp_path / "rows.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table rows as select ? as user_id", [HOSTILE])
    expectations = (
        ("ExpectColumnValuesToBeInSet", {"column": "user_id", "value_set": ["nobody"]}),
        ("NoRows", {"unexpected_rows_query": "select * from rows"}),
    )
    list(validate_table(file, "rows", "rows", [Fact("none", "None.", expectations)], documented=(home, "books")))
    return page_of(home, "rows", "books")


def test_a_hostile_id_is_shown_as_text(hostile: Path) -> None:
    text = hostile.read_text()
    assert "&lt;script&gt;" in text
    assert "<script" not in text


def test_whoever_is_forgotten_leaves_the_pages(hostile: Path, home: Home) -> None:
    home.warehouse.mkdir(parents=True)
    assert forget(home, ["somebody else"]) == {}
    assert forget(home, [HOSTILE]) == {str(hostile.relative_to(home.root)): 1}
    assert not hostile.exists()
