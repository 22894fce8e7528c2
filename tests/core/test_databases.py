"""Tables of SQLite, and of a real PostgreSQL that the test starts."""

import logging
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import ESCAPED, PASSWORD, Postgres, programs, serving
from ratings_files import ROWS, Row, domain, holding, kept, rejected

from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.errors import CatalogError, SourceError
from ptupcdr_core.sources.fingerprint import source_fingerprint
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.warehouse import Warehouse

BAD: list[tuple] = [("eve", "0001", 9.0, 1), (None, "0001", 4.0, 1), ("ann", "0001", 2.0, 50)]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "home" / "warehouse", threads=2)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL is installed (Debian: apt-get install postgresql): its tables were not read")
    pytest.importorskip("adbc_driver_postgresql", reason="the extra postgres is not installed: no table was read")
    with serving(found) as started:
        columns = "user_id text, item_id text, rating real, at timestamptz"
        started.execute("create schema shop", "create table private (user_id text)")
        started.execute(f"create table shop.stars ({columns})")
        for user, item, rating, time in [*ROWS, *BAD]:
            started.execute(
                f"insert into shop.stars values ({quoted(user)}, {quoted(item)}, {rating}, to_timestamp({time}))"
            )
        started.execute("grant usage on schema shop to reader", "grant select on all tables in schema shop to reader")
        yield started


def quoted(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def shop(server: Postgres, password: str = ESCAPED, table: str = "shop.stars", **more: str) -> Domain:
    columns = Columns(timestamp="at", **more)
    return domain(server.address(password), "postgres", table=table, columns=columns)


def test_a_table_of_postgresql_is_read_and_its_rows_are_accounted_for(server: Postgres, warehouse: Warehouse) -> None:
    report = ingest_domain(shop(server), warehouse)
    assert sorted(kept(warehouse)) == sorted(ROWS)
    assert (report.rows_read, report.kept) == (7, 4)
    assert sorted(reason for reason, _ in rejected(warehouse)) == ["empty_user_id", "rating_off_scale", "superseded"]


def test_the_password_is_stored_nowhere(
    server: Postgres,
    warehouse: Warehouse,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    for password in (ESCAPED, "${SHOP_PASSWORD}"):
        ingest_domain(shop(server, password), warehouse)
        assert warehouse.provenance("raw_ratings", "books")[1]["path"] == server.address().replace(
            f"reader:{ESCAPED}", "***"
        )
    told = []
    for wrong in (shop(server, "wrong-word-19"), shop(server, table="shop.none"), shop(server, table="private")):
        with pytest.raises(SourceError, match=r"cannot be read: .*; check path and table of domains\.books") as caught:
            ingest_domain(wrong, warehouse)
        told += traceback.format_exception(caught.value)
    secrets = (PASSWORD, ESCAPED, "wrong-word-19")
    assert holding(tmp_path, *secrets) == []
    assert not any(secret in text for secret in secrets for text in (caplog.text, "".join(told)))


def test_a_column_that_is_not_there_is_named(server: Postgres, warehouse: Warehouse) -> None:
    with pytest.raises(SourceError, match=r"shop\.stars: no column stars; it has user_id, item_id, rating, at"):
        ingest_domain(shop(server, rating="stars"), warehouse)


def test_a_server_that_is_not_there_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(SourceError, match=r"postgresql://\*\*\*@127\.0\.0\.1:1/postgres shop\.stars cannot be read"):
        ingest_domain(shop(Postgres(1)), warehouse)


def test_a_table_is_stale_when_a_row_of_it_has_changed(server: Postgres, warehouse: Warehouse) -> None:
    server.execute("create table shop.few as select * from shop.stars", "grant select on shop.few to reader")
    few = shop(server, table="shop.few")
    first = source_fingerprint(few)
    assert source_fingerprint(few) == first
    server.execute("update shop.few set rating = 2 where user_id = 'bob'")
    changed = source_fingerprint(few)
    server.execute("update shop.few set rating = 3.5 where user_id = 'bob'")
    assert changed != first == source_fingerprint(few), "the rows are in another order now, which does not count"
    server.execute("drop table shop.few")


def test_the_rows_come_in_one_order_however_they_lie_in_the_table(server: Postgres, warehouse: Warehouse) -> None:
    ingest_domain(shop(server), warehouse)
    before = kept(warehouse)
    server.execute("update shop.stars set rating = rating where user_id = 'ann'")
    ingest_domain(shop(server), warehouse)
    assert kept(warehouse) == before


def as_sqlite(path: Path, rows: list[Row]) -> Path:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute('create table "the stars" (user_id text, item_id text, rating real, timestamp integer)')
        connection.executemany('insert into "the stars" values (?, ?, ?, ?)', rows)
    connection.close()
    return path


def test_a_table_of_sqlite_is_read_and_its_rows_are_accounted_for(warehouse: Warehouse, tmp_path: Path) -> None:
    path = as_sqlite(tmp_path / "it's a shop?.sqlite", [*ROWS, *BAD])
    report = ingest_domain(domain(path, "sqlite", table="the stars"), warehouse)
    assert kept(warehouse) == ROWS
    assert (report.rows_read, report.kept) == (7, 4)
    assert rejected(warehouse) == [("rating_off_scale", 5), ("empty_user_id", 6), ("superseded", 7)]


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("stars", None, "no such table: stars; check path and table"),
        ("the stars", b"x" * 5000, "file is not a database; check path and table"),
    ],
)
def test_what_is_not_a_table_of_sqlite_is_named(
    warehouse: Warehouse, tmp_path: Path, table: str, content: bytes | None, message: str
) -> None:
    path = as_sqlite(tmp_path / "shop.sqlite", ROWS)
    if content:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        ingest_domain(domain(path, "sqlite", table=table), warehouse)


def test_a_damaged_column_name_of_sqlite_is_reported(warehouse: Warehouse, tmp_path: Path) -> None:
    path = as_sqlite(tmp_path / "shop.sqlite", ROWS)
    path.write_bytes(path.read_bytes().replace(b"rating real", b"r\x80ting real"))
    with pytest.raises(SourceError, match="can't decode byte 0x80"):
        ingest_domain(domain(path, "sqlite", table="the stars"), warehouse)


def test_a_database_needs_a_table_and_postgresql_an_address(tmp_path: Path) -> None:
    path = tmp_path / "domains.toml"
    path.write_text('[domains.books]\nformat = "postgres"\npath = "shop"\nscale = [1, 5]\n')
    with pytest.raises(CatalogError) as caught:
        load_catalog(path)
    assert "domains.books.path: expected an address, postgresql://" in str(caught.value)
    assert "domains.books.table: expected with format duckdb or sqlite or postgres" in str(caught.value)
