"""Files from a local server: fetched once, whole, and kept."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Server, serving
from ratings_files import ROWS, as_delimited, as_json_lines, ingest, kept, pack

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.serving.forgetting import forget, named_in
from ptupcdr_core.sources.download import fetch
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.sources.limits import Limits
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptupcdr_core.sources.download.PAUSE_SECONDS", 0.01)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "home" / "warehouse", threads=2)


def test_a_file_is_fetched_once_and_kept_in_the_home(server: Server, warehouse: Warehouse, tmp_path: Path) -> None:
    server.files["a.csv"] = as_delimited(ROWS)
    for _ in range(2):
        ingest(warehouse, server.address("a.csv"))
        assert kept(warehouse) == ROWS
    assert server.asked == ["/a.csv"]
    (copy,) = (tmp_path / "home" / "downloads").glob("*.csv")
    assert copy.read_bytes() == server.files["a.csv"]


def test_no_copy_is_kept_that_names_a_forgotten_person(server: Server, warehouse: Warehouse, tmp_path: Path) -> None:
    server.files["a.csv"] = as_delimited(ROWS)
    ingest(warehouse, server.address("a.csv"))
    assert forget(Home(tmp_path / "home"), ["ann"])
    ingest(warehouse, server.address("a.csv"))
    assert {user for user, *_ in kept(warehouse)} == {"bob", "çelik"}
    assert server.asked == ["/a.csv"] * 2
    assert list(named_in(tmp_path / "home", ["ann"])) == []


def test_the_ending_of_an_address_tells_the_format(server: Server, warehouse: Warehouse, tmp_path: Path) -> None:
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    packed = pack(tmp_path / "a.json.gz", as_json_lines(ROWS, keys), "gzip").read_bytes()
    server.files["reviews_Books_5.json.gz"] = packed
    address = server.address("reviews_Books_5.json.gz?download=true")
    ingest_domain(Domain(name="books", format="amazon-2014", path=address), warehouse)
    assert kept(warehouse) == ROWS


def test_a_transfer_that_breaks_off_leaves_nothing(server: Server, warehouse: Warehouse, tmp_path: Path) -> None:
    server.files["a.csv"] = as_delimited(ROWS)
    server.announces = 10
    with pytest.raises(SourceError, match="broke off"):
        ingest(warehouse, server.address("a.csv"))
    assert not [path for path in (tmp_path / "home" / "downloads").iterdir() if path.suffix != ".lock"]
    server.announces = 0
    ingest(warehouse, server.address("a.csv"))
    assert kept(warehouse) == ROWS


def test_a_checksum_in_the_address_must_fit(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = content = as_delimited(ROWS)
    with pytest.raises(SourceError, match="is not the expected file"):
        fetch(server.address("a.csv") + "#sha256=" + "0" * 64, tmp_path)
    right = hashlib.sha256(content).hexdigest()
    assert fetch(server.address("a.csv") + f"#sha256={right}", tmp_path).read_bytes() == content


@pytest.mark.parametrize("name", ["nothing.csv", ""])
def test_what_the_server_does_not_have_is_named(server: Server, warehouse: Warehouse, name: str) -> None:
    with pytest.raises(SourceError, match="cannot be fetched"):
        ingest(warehouse, server.address(name))


def test_a_server_that_is_not_there_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1/a\.csv cannot be fetched"):
        ingest(warehouse, "http://127.0.0.1:1/a.csv")


def test_equal_names_of_different_addresses_stay_apart(server: Server, tmp_path: Path) -> None:
    server.files |= {"one/a.csv": b"1", "two/a.csv": b"2"}
    assert [fetch(server.address(f"{folder}/a.csv"), tmp_path).read_bytes() for folder in ("one", "two")] == [
        b"1",
        b"2",
    ]


def test_many_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = as_delimited(ROWS)
    threads = [threading.Thread(target=fetch, args=(server.address("a.csv"), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["/a.csv"]


CONTENT = as_delimited([(f"user{n}", f"item{n}", 3, n) for n in range(500)])


def test_a_transfer_that_broke_off_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"], server.etag, server.sends = CONTENT, '"first"', [100, 50]
    assert fetch(server.address("a.csv"), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100-", "bytes=150-"]
    assert not list(tmp_path.glob(".*.part*"))


def test_the_next_run_goes_on_too_and_a_file_that_changed_meanwhile_is_fetched_anew(
    server: Server, tmp_path: Path
) -> None:
    server.files["a.csv"], server.etag, server.sends = CONTENT, '"first"', [100, 0, 0]
    with pytest.raises(SourceError, match=r"broke off.*100 bytes are kept, run again to continue from there"):
        fetch(server.address("a.csv"), tmp_path)
    server.files["a.csv"], server.etag = CONTENT.replace(b"user", b"USER"), '"second"'
    assert fetch(server.address("a.csv"), tmp_path).read_bytes() == server.files["a.csv"]
    assert server.ranges[-1] == "bytes=100-", "asked to go on, and refused by the changed mark"


def test_a_part_that_is_longer_than_the_file_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"], server.etag, server.sends = CONTENT, '"first"', [100, 0, 0]
    with pytest.raises(SourceError, match="broke off"):
        fetch(server.address("a.csv"), tmp_path)
    server.files["a.csv"] = CONTENT[:50]
    assert fetch(server.address("a.csv"), tmp_path).read_bytes() == CONTENT[:50]


def test_one_byte_at_a_time_is_not_waited_for_without_end(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"], server.etag, server.pause = CONTENT, '"first"', 0.02
    with pytest.raises(SourceError, match=r"not complete in time.*are kept.*PTUPCDR_DOWNLOAD_SECONDS \(now 0\.5\)"):
        fetch(server.address("a.csv"), tmp_path, Limits(seconds=0.5))
    server.pause = 0
    assert fetch(server.address("a.csv"), tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] is not None, "the next run went on"


@pytest.mark.parametrize("endless", [False, True])
def test_a_download_larger_than_allowed_is_refused(server: Server, tmp_path: Path, endless: bool) -> None:
    server.files["a.csv"], server.endless = CONTENT, endless
    with pytest.raises(SourceError, match="1000 are allowed; raise PTUPCDR_DOWNLOAD_LIMIT"):
        fetch(server.address("a.csv"), tmp_path, Limits(download=1000))
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/html; charset=utf-8", b"user_id,item_id"),
        ("text/csv", b"\n  <!DOCTYPE html><p>Please sign in"),
        ("application/octet-stream", b"<html><body>Error"),
    ],
)
def test_a_web_page_is_no_file(server: Server, tmp_path: Path, kind: str, content: bytes) -> None:
    server.files["a.csv"], server.kind = content, kind
    with pytest.raises(SourceError, match="a web page came, not a file: open the address in a browser"):
        fetch(server.address("a.csv"), tmp_path)
    assert not list(tmp_path.glob("*a.csv"))


@pytest.mark.parametrize("elsewhere", ["file:///etc/passwd", "ftp://127.0.0.1/a.csv", "gopher://127.0.0.1/"])
def test_a_server_cannot_send_on_to_another_scheme(server: Server, tmp_path: Path, elsewhere: str) -> None:
    server.redirects["a.csv"] = elsewhere
    with pytest.raises(SourceError, match=r"the server redirects from http to .* which is not followed"):
        fetch(server.address("a.csv"), tmp_path)
    assert server.asked == ["/a.csv"]


def test_a_server_may_send_on_to_another_address(server: Server, tmp_path: Path) -> None:
    server.files["b.csv"], server.redirects = CONTENT, {"a.csv": "/b.csv", "c.csv": "/c.csv"}
    assert fetch(server.address("a.csv"), tmp_path).read_bytes() == CONTENT
    with pytest.raises(SourceError, match="from address to address without end"):
        fetch(server.address("c.csv"), tmp_path)


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"], server.status = CONTENT, 503
    with pytest.raises(SourceError, match="the server answers 503"):
        fetch(server.address("a.csv"), tmp_path)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PTUPCDR_DOWNLOAD_SECONDS": "soon"}, "PTUPCDR_DOWNLOAD_SECONDS=soon: expected a number of seconds above 0"),
        ({"PTUPCDR_DOWNLOAD_LIMIT": "-1"}, "PTUPCDR_DOWNLOAD_LIMIT=-1: expected a size such as 500MB"),
        ({"PTUPCDR_UNPACKED_LIMIT": "0"}, "PTUPCDR_UNPACKED_LIMIT=0: expected a size such as 500MB"),
    ],
)
def test_invalid_limits_are_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        Limits.from_environment(given)


def test_limits_come_from_the_environment() -> None:
    given = {"PTUPCDR_DOWNLOAD_SECONDS": "2.5", "PTUPCDR_DOWNLOAD_LIMIT": "3 GB", "PTUPCDR_UNPACKED_LIMIT": "17"}
    assert Limits.from_environment(given) == Limits(2.5, 3_000_000_000, 17)
    assert Limits.from_environment({}) == Limits()
