"""People with different ids in different domains, and people who are to be forgotten."""

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ratings_files import pack, rejected

from ptupcdr_core.catalog import Catalog
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.errors import CatalogError, SourceError
from ptupcdr_core.serving.forgetting import forget, named_in
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.fingerprint import source_fingerprint
from ptupcdr_core.sources.ingest import IngestReport, ingest_domain
from ptupcdr_core.sources.people import Forgotten, People
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

DOMAINS = """
[domains.books]
format = "csv"
path = "books.csv"
scale = [1, 5]
[domains.movies]
format = "csv"
path = "movies.csv"
feedback = "implicit"
[[pairs]]
source = "books"
target = "movies"
"""
PEOPLE = '[people]\npath = "people.csv"\ncolumns = { movies = "account", books = "reader" }\n'
PERSON = "person-77001"


def catalog(folder: Path, people: str = PEOPLE, table: str = "reader,account\nann,17\nbob,\n,18\n") -> Catalog:
    (folder / "books.csv").write_text("user_id,item_id,rating,timestamp\nann,a,5,1\nbob,a,4,2\n17,b,3,3\n")
    (folder / "movies.csv").write_text("user_id,item_id,timestamp\n17,m,1\n18,m,2\nann,m,3\ncat,m,4\n")
    (folder / "people.csv").write_text(table)
    (folder / "domains.toml").write_text(DOMAINS + people)
    return load_catalog(folder / "domains.toml")


def ingested(folder: Path, known: Catalog) -> dict[str, IngestReport]:
    warehouse = Warehouse(folder / "warehouse")
    return {domain.name: ingest_domain(domain, warehouse) for domain in known.domains}


def users(folder: Path, domain: str) -> list[str]:
    with Warehouse(folder / "warehouse").read("raw_ratings", domain) as connection:
        return [user for (user,) in connection.execute("select user_id from raw_ratings order by rowid").fetchall()]


def test_ids_of_one_person_become_one(tmp_path: Path) -> None:
    """``movies`` comes first in the table: a person is called by the id there, where they have one."""
    reports = ingested(tmp_path, catalog(tmp_path))
    assert users(tmp_path, "books") == ["17", "bob", "books:17"]  # the reader 17 is not the account 17
    assert users(tmp_path, "movies") == ["17", "18", "ann", "cat"]
    assert reports["books"].people == {"joined": 2, "set_apart": 1}
    assert reports["movies"].people == {"joined": 2, "not_listed": 2}


def test_without_a_table_equal_texts_are_one_person(tmp_path: Path) -> None:
    reports = ingested(tmp_path, catalog(tmp_path, people=""))
    assert users(tmp_path, "books") == ["ann", "bob", "17"]
    assert reports["books"].people == {}


def test_an_id_of_two_people_is_refused_with_both(tmp_path: Path) -> None:
    known = catalog(tmp_path, table="reader,account\nann,17\nbob,18\nann,19\n")
    with pytest.raises(SourceError, match=r"people\.csv: the id 'ann' of books stands in rows 1 and 3"):
        ingested(tmp_path, known)


@pytest.mark.parametrize(
    ("people", "problem"),
    [
        ('[people]\npath = "people.csv"\ncolumns = { books = "a", plays = "b" }\n', "people.columns.plays: no such"),
        ('[people]\ncolumns = { books = "a", movies = "b" }\n', "people.path: Field required"),
        ('[people]\npath = "people.csv"\ncolumns = { books = "a" }\n', "people.columns: "),
    ],
)
def test_a_table_of_people_that_fits_no_catalog_is_refused(tmp_path: Path, people: str, problem: str) -> None:
    with pytest.raises(CatalogError, match=problem):
        catalog(tmp_path, people)


def test_another_table_makes_ratings_anew(tmp_path: Path) -> None:
    domain = catalog(tmp_path).domain("books")
    before = source_fingerprint(domain)
    (tmp_path / "people.csv").write_text("reader,account\nann,17\n")
    assert source_fingerprint(domain) != before


def test_whoever_is_forgotten_is_dropped_at_every_later_ingest(tmp_path: Path) -> None:
    known, home = catalog(tmp_path), Home(tmp_path)
    people = People.read(known.domain("books"))
    assert people is not None
    assert people.all_ids("ann") == ["ann", "17"]
    forget(home, people.all_ids("ann"))
    report = ingested(tmp_path, known)["books"]
    assert (report.rows_read, report.kept, report.rejected) == (3, 1, {"forgotten": 2})
    assert users(tmp_path, "books") == ["bob"]
    assert rejected(Warehouse(tmp_path / "warehouse")) == [("forgotten", 1), ("forgotten", 3)]
    assert "ann" not in Forgotten.of(home).path.read_text()


def test_no_file_of_the_home_knows_who_is_forgotten(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    warehouse = Warehouse(home.warehouse)
    folder = tmp_path / "files"
    folder.mkdir()
    known = catalog(folder, people="")
    people = [*(f"person-{n}" for n in range(60)), PERSON]
    lines = [f"{user},item{place % 7},4,{place}\n" for place, user in enumerate(people)]
    (folder / "books.csv").write_text("user_id,item_id,rating,timestamp\n" + "".join(lines) + f"{PERSON},x,9,1\n")
    (folder / "movies.csv").write_text("user_id,item_id,timestamp\n" + "".join(f"{user},m,1\n" for user in people[:40]))
    for domain in known.domains:
        ingest_domain(domain, warehouse)
    build_split(known.pairs[0], *known.domains, warehouse, Settings(beta=0.4, validation_fraction=0.4))
    for place in (home.benchmark, home.mlflow / "artifacts"):
        place.mkdir(parents=True)
        pq.write_table(pa.table({"user_id": people, "ratings": range(len(people))}), place / "people.parquet")
    (home.mlflow / "artifacts" / "input_example.json").write_text(f'{{"data": ["{PERSON}", "somebody new"]}}')
    for kind, packed in ((None, "a.csv"), ("gzip", "b.csv.gz"), ("zstd", "c.csv.zst")):
        pack(home.downloads / packed, ("user_id,item_id\n" + "".join(lines)).encode(), kind)
    pq.write_table(pa.table({"user_id": people}), home.downloads / "d.parquet")
    duckdb.connect(str(home.downloads / "e.duckdb")).close()
    (home.downloads / "f.jsonl").write_text(json.dumps({"user_id": "Zo\u00eb"}) + "\n")
    pack(home.downloads / "others.csv", b"user_id,item_id\nsomebody,1\n")
    home.reports.mkdir()
    (home.reports / "books__movies.html").write_text(f"<h3>{PERSON}</h3>")
    (home.reports / "somebody_elses.html").write_bytes("<h3>Grüße</h3>".encode("latin-1"))
    before = {path.relative_to(home.root).parts[0] for path in named_in(home.root, [PERSON])}
    assert before >= {"warehouse", "benchmark", "mlflow", "reports"}

    found = forget(home, [PERSON, "Zoë"])

    assert list(named_in(home.root, [PERSON])) == []
    assert found["raw_ratings/books: raw_ratings"] == found["raw_ratings/books: rejected_ratings"] == 1
    assert found["domain_splits/books__movies: split_histories"] == 1
    assert found["mlflow/artifacts/people.parquet"] == 1
    assert [path.name for path in home.downloads.iterdir()] == ["others.csv"], "packed ones too, and databases"
    assert pq.read_table(home.benchmark / "people.parquet")["user_id"].to_pylist() == people[:-1]
    with warehouse.read("domain_splits", "books__movies") as connection:
        query = "select count(*), max(user_index), count(*) filter (user_id like 'forgotten %') from split_users"
        assert connection.execute(query).fetchall() == [(len(people), len(people), 1)]
    assert warehouse.provenance("raw_ratings", "books")[0] == ""  # so that the next backfill makes it again
    assert forget(home, [PERSON]) == {}
