"""Objects of a bucket, read from a local server that speaks S3."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ratings_files import ROWS, WITH_TIME, Row, as_delimited, domain, holding, kept
from test_new_files import rows_of, tables

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import FetchError, SourceError
from ptupcdr_core.sources import buckets
from ptupcdr_core.sources.fingerprint import source_fingerprint
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

KEY, SECRET = "reader", "rhubarb/custard+7"


class Store:
    """A running server with one bucket, ``shop``."""

    def __init__(self, port: int) -> None:
        import boto3

        self.place = f"scheme=http&endpoint_override=127.0.0.1%3A{port}&region=us-east-1"
        names = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        self.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **names)
        self.client.create_bucket(Bucket="shop")

    def put(self, key: str, rows: list[Row]) -> None:
        self.client.put_object(Bucket="shop", Key=key, Body=as_delimited(rows))

    def domain(self, key: str, user: str = "${SHOP_KEY}:${SHOP_SECRET}", **more: object) -> Domain:
        return domain(f"s3://{user}@shop/{key}?{self.place}", "csv", columns=WITH_TIME, **more)


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    moto = pytest.importorskip("moto.server", reason="moto[s3] is not installed: no bucket was read")
    running = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    yield Store(running.get_host_and_port()[1])
    running.stop()


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("SHOP_KEY", KEY)
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    listed = server.client.list_objects_v2(Bucket="shop").get("Contents", [])
    for each in listed:
        server.client.delete_object(Bucket="shop", Key=each["Key"])
    return server


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "home" / "warehouse", threads=2)


def test_an_object_is_read_and_its_secret_is_stored_nowhere(store: Store, warehouse: Warehouse, tmp_path: Path) -> None:
    store.put("a/it's.csv", ROWS)
    ingest_domain(store.domain("a/it's.csv"), warehouse)
    assert kept(warehouse) == ROWS
    assert warehouse.provenance("raw_ratings", "books")[1]["path"].startswith("s3://***@shop/a/it's.csv?scheme=***")
    assert holding(tmp_path, SECRET, "rhubarb%2Fcustard%2B7") == []


def test_only_new_and_changed_objects_are_fetched(
    store: Store, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, fetch = [], buckets._fetch

    def noted(bucket: buckets.Bucket, each: buckets.Object, *rest: object) -> None:
        fetched.append(each.key)
        fetch(bucket, each, *rest)

    monkeypatch.setattr(buckets, "_fetch", noted)
    for part in range(4):
        store.put(f"plays/day={part % 2}/part-{part}.csv", rows_of(part))
    store.put("plays/_temporary/part-9.csv", rows_of(9))
    store.put("plays/day=0/notes.txt", rows_of(9))
    parts = store.domain("plays/**/part-[0-8].csv")
    before = source_fingerprint(parts)
    ingest_domain(parts, warehouse)
    assert fetched == [f"plays/day={part % 2}/part-{part}.csv" for part in (0, 2, 1, 3)]
    assert source_fingerprint(parts) == before
    store.client.delete_object(Bucket="shop", Key="plays/day=0/part-0.csv")
    store.put("plays/day=1/part-3.csv", rows_of(3)[:5])
    store.put("plays/day=1/part-5.csv", rows_of(5))
    assert source_fingerprint(parts) != before
    fetched.clear()
    ingest_domain(parts, warehouse)
    assert fetched == ["plays/day=1/part-3.csv", "plays/day=1/part-5.csv"]
    afresh = Warehouse(tmp_path / "afresh" / "warehouse", threads=2)
    ingest_domain(parts, afresh)
    one, other = tables(warehouse), tables(afresh)
    assert one[0] == other[0]
    assert [row[2:] for row in one[2]] == [row[2:] for row in other[2]]


def test_a_folder_is_all_below_it_that_is_finished(
    store: Store, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    for part, day in enumerate("abc"):
        store.put(f"day={day}/part.csv", rows_of(part))
    store.put("_temporary/part.csv", rows_of(7))
    for day in "ab":
        store.client.put_object(Bucket="shop", Key=f"day={day}/_SUCCESS", Body=b"")
    ingest_domain(store.domain("day=a"), warehouse)
    marked = store.domain("day=*/part.csv", marker="_SUCCESS")
    ingest_domain(marked, warehouse)
    assert len(tables(warehouse)[2]) == 2
    assert "1 files are still being written and left out" in caplog.text
    with pytest.raises(SourceError, match=r"all 3 files of s3://\*\*\*@shop/.* are still being written"):
        ingest_domain(store.domain("day=*/part.csv", settled_seconds=time.time()), warehouse)


@pytest.mark.parametrize(
    ("key", "user", "message"),
    [
        ("none.csv", "${SHOP_KEY}:${SHOP_SECRET}", r"no file s3://\*\*\*@shop/none\.csv.*; check domains\.books\.path"),
        ("", "${SHOP_KEY}:${SHOP_SECRET}", "expected s3://BUCKET/KEY"),
        ("a.csv", "${SHOP_KEY}:${SHOP_NOTHING}", "the environment variable SHOP_NOTHING is not set"),
    ],
)
def test_what_is_not_there_is_named(store: Store, warehouse: Warehouse, key: str, user: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        ingest_domain(store.domain(key, user), warehouse)


def test_an_address_that_cannot_be_used_is_named_without_its_secret(store: Store, warehouse: Warehouse) -> None:
    wrong = domain("s3://${SHOP_KEY}:${SHOP_SECRET}@shop/a.csv?endpoint=127.0.0.1", "csv", columns=WITH_TIME)
    message = (
        r"s3://\*\*\*@shop/a\.csv.* cannot be read: .*endpoint.*; check the bucket, its region or endpoint_override"
    )
    with pytest.raises(FetchError, match=message) as caught:
        ingest_domain(wrong, warehouse)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("part-*.csv", "part-1.csv", "part-1/a.csv"),
        ("**/part-[!a]*.csv", "day/part-b1.csv", "day/part-a1.csv"),
        ("part-[a!].csv", "part-!.csv", "part-b.csv"),
    ],
)
def test_patterns_mean_what_they_mean_for_files(pattern: str, matching: str, other: str) -> None:
    expression = buckets._as_expression(pattern)
    assert re.fullmatch(expression, matching)
    assert not re.fullmatch(expression, other)
