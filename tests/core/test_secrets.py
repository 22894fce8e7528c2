"""Passwords and tokens in addresses work, and are stored nowhere."""

import logging
from pathlib import Path

import pytest
from file_server import Server, serving
from ratings_files import ROWS, as_delimited, domain, holding, ingest, kept

from ptupcdr_core.addresses import filled, scrubbed, shown, without_user
from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import CatalogError, SourceError
from ptupcdr_core.sources.fingerprint import source_fingerprint
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.warehouse import Warehouse

SECRET, TOKEN = "tulip mania/1637", "tok-9c2f71"
ESCAPED = "tulip%20mania%2F1637"


@pytest.fixture
def server() -> "Server":
    with serving() as server:
        server.files["a.csv"] = as_delimited(ROWS)
        server.password, server.token = f"reader:{SECRET}", TOKEN
        yield server


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "home" / "warehouse", threads=2)


def test_user_password_and_token_of_an_address_are_given_and_not_kept(
    server: Server, warehouse: Warehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    address = server.address(f"a.csv?token={TOKEN}", user=f"reader:{ESCAPED}@")
    ingest(warehouse, address)
    assert kept(warehouse) == ROWS
    assert holding(tmp_path, SECRET, ESCAPED, TOKEN) == []
    assert not any(secret in caplog.text for secret in (SECRET, ESCAPED, TOKEN))
    assert (
        warehouse.provenance("raw_ratings", "books")[1]["path"] == f"{server.address('a.csv', user='***@')}?token=***"
    )
    assert ESCAPED not in repr(domain(address))


def test_they_may_come_from_the_environment(
    server: Server, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.address("a.csv?token=${SHOP_TOKEN}", user="reader:${SHOP_PASSWORD}@")
    with pytest.raises(SourceError, match="the environment variable SHOP_PASSWORD is not set"):
        ingest(warehouse, address)
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    ingest(warehouse, address)
    assert kept(warehouse) == ROWS


def test_user_and_password_may_come_from_netrc(
    server: Server, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.password = "reader:tulips"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login reader password tulips\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    ingest(warehouse, server.address(f"a.csv?token={TOKEN}"))
    assert kept(warehouse) == ROWS


def test_a_password_is_not_sent_on_to_another_server(server: Server, warehouse: Warehouse) -> None:
    with serving() as other:
        other.files["a.csv"] = as_delimited(ROWS)
        server.token, server.redirects = None, {"b.csv": other.address("a.csv").replace("127.0.0.1", "localhost")}
        ingest(warehouse, server.address("b.csv", user=f"reader:{ESCAPED}@"))
        assert server.users[0] is not None
        assert other.users == [None]


@pytest.mark.parametrize("what", ["refused", "missing", "no server", "a web page", "breaks off", "not expected"])
def test_no_message_contains_them(
    server: Server, warehouse: Warehouse, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptupcdr_core.sources.download.PAUSE_SECONDS", 0.01)
    name, fragment = "a.csv", ""
    if what == "refused":
        server.password = "somebody:else"
    elif what == "missing":
        name = "b.csv"
    elif what == "a web page":
        server.files["a.csv"] = f"<html>your token {TOKEN} is old".encode()
    elif what == "breaks off":
        server.announces = 10
    elif what == "not expected":
        fragment = f"#sha256={'0' * 64}"
    address = server.address(f"{name}?token={TOKEN}", user=f"reader:{ESCAPED}@") + fragment
    if what == "no server":
        address = address.replace(str(server.server_address[1]), "1")
    with pytest.raises(SourceError) as caught:
        ingest(warehouse, address)
    causes = [caught.value]
    while (
        cause := causes[-1].__cause__ or (None if causes[-1].__suppress_context__ else causes[-1].__context__)
    ) is not None:
        causes.append(cause)
    told = " ".join(map(str, causes))
    assert f"127.0.0.1:{1 if what == 'no server' else server.server_address[1]}/{name}?token=***" in told
    assert not any(secret in told for secret in (SECRET, ESCAPED, TOKEN, "tulip"))
    assert holding(tmp_path, SECRET, ESCAPED, TOKEN) == []


def test_a_new_password_makes_nothing_stale_and_fetches_nothing_anew(server: Server, warehouse: Warehouse) -> None:
    server.token = None
    first, second = (server.address("a.csv", user=f"{user}@") for user in (f"reader:{ESCAPED}", "other:word"))
    assert source_fingerprint(domain(first)) == source_fingerprint(domain(second))
    ingest(warehouse, first)
    ingest(warehouse, second)
    assert len(server.asked) == 1


def test_a_catalog_that_is_wrong_does_not_tell_the_address(tmp_path: Path) -> None:
    path = tmp_path / "domains.toml"
    path.write_text(f'[domains.books]\nformat = "csv"\npath = ["http://u:{ESCAPED}@h/a.csv"]\nscale = [1, 5]\n')
    with pytest.raises(CatalogError, match=r"domains\.books\.path") as caught:
        load_catalog(path)
    assert ESCAPED not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://u:p@h:8/a.csv?x=1&y=2#sha256=" + "a" * 64, "https://***@h:8/a.csv?x=***&y=***#sha256=" + "a" * 64),
        ("https://h/a.csv?p", "https://h/a.csv?***"),
        ("http://u:p/q#r@h/a.csv", "http://***@h/a.csv"),
        ("postgresql://u:p@h/db", "postgresql://***@h/db"),
        ("s3://bucket/part-*.parquet", "s3://bucket/part-*.parquet"),
        ("a?.csv", "a?.csv"),
    ],
)
def test_what_is_shown_of_an_address(address: str, expected: str) -> None:
    assert shown(address) == expected


def test_a_variable_is_escaped_and_only_filled_into_addresses() -> None:
    assert filled("http://h/?t=${T}", {"T": "a/b c"}) == "http://h/?t=a%2Fb%20c"
    assert filled("/data/${T}.csv", {}) == "/data/${T}.csv"


def test_somebody_elses_message_loses_both_forms_of_a_secret() -> None:
    text = scrubbed(f"{SECRET}, {ESCAPED} and {TOKEN} of reader", f"http://reader:{ESCAPED}@h/?token={TOKEN}")
    assert text == "***, *** and *** of ***"
    assert without_user("http://u:p@h/a@b") == "http://h/a@b"
    assert Domain(name="books", format="demo").shown_path == ""
