"""Files from a server of this machine: fetched once, whole, and kept."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ratings_files import ROWS, as_delimited, as_json_lines, ingest, kept, pack

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.download import fetch
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse


class Server(ThreadingHTTPServer):
    """Serves ``files``, counts what was asked for, and may announce more bytes than it sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.breaks_off = False

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path.split("?")[0].strip("/"))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + 10 * self.server.breaks_off))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


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


def test_the_ending_of_an_address_tells_the_format(server: Server, warehouse: Warehouse, tmp_path: Path) -> None:
    keys = ("reviewerID", "asin", "overall", "unixReviewTime")
    packed = pack(tmp_path / "a.json.gz", as_json_lines(ROWS, keys), "gzip").read_bytes()
    server.files["reviews_Books_5.json.gz"] = packed
    address = server.address("reviews_Books_5.json.gz?download=true")
    ingest_domain(Domain(name="books", format="amazon-2014", path=address), warehouse)
    assert kept(warehouse) == ROWS


def test_a_transfer_that_breaks_off_leaves_nothing(server: Server, warehouse: Warehouse, tmp_path: Path) -> None:
    server.files["a.csv"] = as_delimited(ROWS)
    server.breaks_off = True
    with pytest.raises(SourceError, match="broke off"):
        ingest(warehouse, server.address("a.csv"))
    assert not [path for path in (tmp_path / "home" / "downloads").iterdir() if path.suffix != ".lock"]
    server.breaks_off = False
    ingest(warehouse, server.address("a.csv"))
    assert kept(warehouse) == ROWS


def test_a_checksum_in_the_address_must_fit(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = content = as_delimited(ROWS)
    with pytest.raises(SourceError, match="is not the expected file"):
        fetch(server.address("a.csv") + "#sha256=" + "0" * 64, tmp_path)
    right = hashlib.sha256(content).hexdigest()
    assert fetch(server.address("a.csv") + f"#sha256={right}", tmp_path).read_bytes() == content


@pytest.mark.parametrize("name", ["nothing.csv", ""])
def test_what_the_server_has_not_is_named(server: Server, warehouse: Warehouse, name: str) -> None:
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
