"""Data Docs: a page of the last validation of an asset partition, linked from its checks, and an index of all."""

from pathlib import Path

from conftest import tamper

from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks import ratings
from ptupcdr_dagster.checks.data_docs import page_of
from ptupcdr_dagster.partitions import CATALOG


def test_the_page_is_of_the_last_validation(home: Home) -> None:
    from ptupcdr_dagster.checks.validation import validate_table

    warehouse, domain = Warehouse(home.warehouse), CATALOG.domain("books")
    ingest_domain(domain, warehouse)
    file, page = warehouse.file("raw_ratings", "books"), page_of(home, "raw_ratings", "books")

    def validated() -> str:
        facts, scale = ratings.FACTS, {"low": 1, "high": 5}
        made = list(validate_table(file, "raw_ratings", "raw_ratings", facts, scale, documented=(home, "books")))
        assert {str(result.metadata["data_docs"].value) for result in made} == {page.as_uri()}
        return (home.data_docs / "index.html").read_text()

    index = validated()
    assert "raw_ratings of books" in page.read_text()
    assert str(page.relative_to(home.data_docs)) in index
    met = index.partition("</a><td>")[2].partition("<td>")[0]
    assert met.split(" of ")[0] == met.split(" of ")[1]
    tamper(file, "update raw_ratings set rating = 9 where rowid = 0")
    assert met not in validated(), "one is no longer met"
    assert len(list(Path(home.data_docs).glob("validations/**/*.html"))) == 1
