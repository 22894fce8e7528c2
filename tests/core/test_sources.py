"""Every format, in every wrapping, gives the same ratings."""

import csv
import io
import json
import os
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from ratings_files import (
    ROWS,
    WITHOUT_TIME,
    as_delimited,
    as_duckdb,
    as_json_lines,
    as_parquet,
    domain,
    ingest,
    kept,
    pack,
    rejected,
)

from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.sources import demo
from ptupcdr_core.sources.fingerprint import source_fingerprint
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

TEXT = {"csv": lambda rows: as_delimited(rows), "tsv": lambda rows: as_delimited(rows, "\t"), "jsonl": as_json_lines}
COMPRESSIONS = {None: "", "gzip": ".gz", "zstd": ".zst"}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "home" / "warehouse", threads=2)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("format", TEXT)
def test_text_plain_or_compressed(warehouse: Warehouse, tmp_path: Path, format: str, compression: str | None) -> None:
    path = pack(tmp_path / f"ratings.{format}{COMPRESSIONS[compression]}", TEXT[format](ROWS), compression)
    report = ingest(warehouse, path, format)
    assert kept(warehouse) == ROWS
    assert (report.rows_read, report.kept, report.rejected, report.users, report.items) == (4, 4, {}, 3, 3)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("format", TEXT)
def test_a_glob_reads_its_files_in_the_order_of_their_names(
    warehouse: Warehouse, tmp_path: Path, format: str, compression: str | None
) -> None:
    for number in (2, 1, 3):  # written in another order than they are read
        path = tmp_path / f"part-{number}.{format}{COMPRESSIONS[compression]}"
        pack(path, TEXT[format]([(f"user{number}", "item", 1.0 + number, number)]), compression)
    report = ingest(warehouse, tmp_path / f"part-*.{format}*", format)
    assert [row[0] for row in kept(warehouse)] == ["user1", "user2", "user3"]
    assert report.rows_read == 3


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd"])
def test_parquet_with_any_codec_and_by_a_glob(warehouse: Warehouse, tmp_path: Path, codec: str) -> None:
    as_parquet(tmp_path / "a.parquet", ROWS[:2], codec)
    as_parquet(tmp_path / "b.parquet", ROWS[2:], codec)
    ingest(warehouse, tmp_path / "*.parquet", "parquet")
    assert kept(warehouse) == ROWS


@pytest.mark.parametrize("table", ["ratings", "main.ratings", "shelf.stars", "seen"])
def test_a_table_or_view_of_a_duckdb_file(warehouse: Warehouse, tmp_path: Path, table: str) -> None:
    path = as_duckdb(tmp_path / "shop.duckdb", ROWS)
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema shelf; create table shelf.stars as from ratings")
        connection.execute("create view seen as from ratings")
    ingest(warehouse, path, "duckdb", table=table)
    assert kept(warehouse) == ROWS


def test_generated_ratings(warehouse: Warehouse) -> None:
    report = ingest_domain(Domain(name="books", format="demo"), warehouse)
    generated = demo.generate("books")
    assert report.rows_read == report.kept == generated.num_rows
    assert kept(warehouse)[0] == tuple(generated.slice(0, 1).to_pylist()[0].values())


def test_columns_are_found_by_name_wherever_they_stand(warehouse: Warehouse, tmp_path: Path) -> None:
    content = b'when,"the, item",stars,text,who\n7,0001,4,"a ""long"" text,\nof two lines",ann\n'
    columns = Columns(user="who", item="the, item", rating="stars", timestamp="when")
    ingest(warehouse, pack(tmp_path / "a.csv", content), columns=columns)
    assert kept(warehouse) == [("ann", "0001", 4.0, 7.0)]


def test_json_keys_may_hold_anything(warehouse: Warehouse, tmp_path: Path) -> None:
    keys = ("reviewer.name", 'the "item"', "/stars", "$.when")
    columns = Columns(user=keys[0], item=keys[1], rating=keys[2], timestamp=keys[3])
    ingest(warehouse, pack(tmp_path / "a.jsonl", as_json_lines(ROWS, keys)), "jsonl", columns=columns)
    assert kept(warehouse) == ROWS


def test_ids_are_text_an_isbn_keeps_its_leading_zeros(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [("007", "0001847392", 5, 1), ("1e3", "9780000000000000000001", 4, 2), ("NULL", "nan", 3, 3)]
    rows += [(" x ", "true", 2, 4)]
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited(rows)))
    assert [row[:2] for row in kept(warehouse)] == [row[:2] for row in rows]


def test_numbers_as_json_ids_become_their_text(warehouse: Warehouse, tmp_path: Path) -> None:
    content = b'{"user_id": 12345678901234567890, "item_id": 7, "rating": "4", "timestamp": "2020-01-01"}\n'
    ingest(warehouse, pack(tmp_path / "a.jsonl", content), "jsonl")
    assert kept(warehouse) == [("12345678901234567890", "7", 4.0, 1577836800.0)]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("11", 11),  # ordinal bins stay what they are
        ("-5.5", -5.5),
        ("1400000000", 1400000000),
        ("2014-05-13", 1399939200),
        ("2014-05-13 16:53:20", 1400000000),
        ("2014-05-13T16:53:20Z", 1400000000),
        ("2014-05-13T18:53:20+02:00", 1400000000),
        ("2014-05-13 16:53:20.5", 1400000000.5),
        ("", None),
    ],
)
def test_timestamps_are_numbers_or_iso_dates(
    warehouse: Warehouse, tmp_path: Path, written: str, seconds: float
) -> None:
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited([("ann", "1", 5, written)])))
    assert kept(warehouse) == [("ann", "1", 5.0, seconds)]


def test_typed_times_of_parquet_are_utc(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    duckdb.sql(f"""copy (select 'ann' user_id, 1 item_id, 4::tinyint rating,
        timestamptz '2014-05-13 18:53:20+02' "timestamp") to '{path}' (format parquet)""")
    ingest(warehouse, path, "parquet")
    assert kept(warehouse) == [("ann", "1", 4.0, 1400000000.0)]


def test_without_a_timestamp_column_time_is_unknown(warehouse: Warehouse, tmp_path: Path) -> None:
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited(ROWS)), columns=WITHOUT_TIME)
    assert {row[3] for row in kept(warehouse)} == {None}


JSON_KEYS = ("reviewerID", "asin", "overall", "unixReviewTime")
SWAPPED = [(item, user, rating, time) for user, item, rating, time in ROWS]
MILLISECONDS = b"user_id,parent_asin,rating,timestamp\n" + as_delimited(
    [(user, item, rating, time * 1000 + 250) for user, item, rating, time in ROWS], header=False
)


@pytest.mark.parametrize(
    ("format", "name", "content", "expected"),
    [
        ("amazon-2014", "reviews_Books_5.json.gz", as_json_lines(ROWS, JSON_KEYS), ROWS),
        ("amazon-2014", "ratings_Books.csv", as_delimited(ROWS, header=False), ROWS),
        ("amazon-2018", "Books_5.json.gz", as_json_lines(ROWS, JSON_KEYS), ROWS),
        ("amazon-2018", "Books.csv.gz", as_delimited(SWAPPED, header=False), ROWS),
        ("amazon-2023", "Books.csv.gz", MILLISECONDS, [(*row[:3], row[3] + 0.25) for row in ROWS]),
    ],
)
def test_amazon(
    warehouse: Warehouse, tmp_path: Path, format: str, name: str, content: bytes, expected: list[tuple]
) -> None:
    path = pack(tmp_path / name, content, "gzip" if name.endswith(".gz") else None)
    ingest_domain(Domain(name="books", format=format, path=str(path)), warehouse)
    assert kept(warehouse) == expected


def test_a_relative_path_starts_at_the_catalog(warehouse: Warehouse, tmp_path: Path) -> None:
    pack(tmp_path / "data" / "a.csv", as_delimited(ROWS))
    ingest(warehouse, "data/a.csv", folder=tmp_path)
    assert kept(warehouse) == ROWS


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_file_may_have_a_name_that_looks_like_a_pattern(warehouse: Warehouse, tmp_path: Path, format: str) -> None:
    path = tmp_path / "it's [a] b.*?" / f"x[1-2]*.{format}"
    path.parent.mkdir()
    as_parquet(path, ROWS) if format == "parquet" else pack(path, TEXT[format](ROWS))
    ingest(warehouse, path, format)
    assert kept(warehouse) == ROWS


def test_columns_may_be_called_what_would_be_code_elsewhere(warehouse: Warehouse, tmp_path: Path) -> None:
    columns = Columns(user="us'er", item='"); drop table x; --', rating="../ra;ting")
    content = b'us\'er,"""); drop table x; --",../ra;ting\nann,b1,4\n'
    ingest(warehouse, pack(tmp_path / "a.csv", content), columns=columns)
    assert kept(warehouse) == [("ann", "b1", 4.0, None)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_line_ends_of_any_system_and_a_byte_order_mark(warehouse: Warehouse, tmp_path: Path, ending: bytes) -> None:
    content = b"\xef\xbb\xbf" + as_delimited(ROWS).replace(b"\n", ending)
    ingest(warehouse, pack(tmp_path / "a.csv", content))
    assert kept(warehouse) == ROWS


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n"])
def test_blank_lines_and_a_missing_last_line_end_are_no_rows(warehouse: Warehouse, tmp_path: Path, end: str) -> None:
    for format, write in TEXT.items():
        content = write(ROWS).decode().rstrip("\n").replace("\n", "\n\n", 1) + end
        report = ingest(warehouse, pack(tmp_path / f"a.{format}", content.encode()), format)
        assert kept(warehouse) == ROWS
        assert report.rows_read == 4


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
ratings = st.sampled_from(["1", "2.5", "5", "0", "6", "nan", "x", ""])
stamps = st.sampled_from(["1", "2", "-3.5", "2020-01-01", "soon", ""])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(cells, cells, ratings, stamps), min_size=1, max_size=30),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_whatever_a_csv_writer_quotes_comes_back_and_the_books_balance(
    warehouse: Warehouse, tmp_path: Path, rows: list[tuple[str, str, str, str]], quoting: int
) -> None:
    assume(
        quoting == csv.QUOTE_ALL or not any("\r" in cell for row in rows for cell in row)
    )  # Python leaves a bare \r unquoted
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)
    writer.writerow(["user_id", "item_id", "rating", "timestamp"])
    writer.writerows([*rows, ("the", "last", 3, 1)])
    report = ingest(warehouse, pack(tmp_path / "a.csv", text.getvalue().encode()))
    assert report.rows_read == len(rows) + 1
    assert report.rows_read == report.kept + sum(report.rejected.values())
    back = kept(warehouse)
    assert {row[:2] for row in back} <= {row[:2] for row in rows} | {("the", "last")}
    assert len({row[:2] for row in back}) == len(back) == report.kept
    good = {row[:2] for row in rows if row[0].strip() and row[1].strip() and row[2] in ("1", "2.5", "5")}
    assert {row[:2] for row in back} >= good - {row[:2] for row in rows if row[3] == "soon"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(cells, cells, ratings, stamps), max_size=30),
    broken=st.lists(st.integers(0, 30), max_size=4),
)
def test_json_lines_keep_their_line_numbers(
    warehouse: Warehouse, tmp_path: Path, rows: list[tuple[str, str, str, str]], broken: list[int]
) -> None:
    lines = [as_json_lines([row]).decode() for row in [*rows, ("the", "last", "3", "1")]]
    for place in sorted(broken):
        lines.insert(min(place, len(lines)), '{"user_id": "x", \n')
    report = ingest(warehouse, pack(tmp_path / "a.jsonl", "".join(lines).encode()), "jsonl")
    assert report.rows_read == len(lines) == report.kept + sum(report.rejected.values())
    expected = [number for number, line in enumerate(lines, 1) if line.endswith(", \n")]
    assert [row for reason, row in rejected(warehouse) if reason == "malformed_json"] == expected


def test_the_fingerprint_follows_the_entry_and_the_files(tmp_path: Path) -> None:
    path = pack(tmp_path / "a-1.csv", as_delimited(ROWS))
    first = source_fingerprint(domain(tmp_path / "a-*.csv"))
    assert source_fingerprint(domain(tmp_path / "a-*.csv")) == first
    assert source_fingerprint(domain(tmp_path / "a-*.csv", scale=(0, 5))) != first, "the entry changed"
    os.utime(path, ns=(1, 1))
    assert source_fingerprint(domain(tmp_path / "a-*.csv")) == first, "the content has not changed"
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))
    changed = source_fingerprint(domain(tmp_path / "a-*.csv"))
    pack(tmp_path / "a-2.csv", as_delimited(ROWS))
    assert len({first, changed, source_fingerprint(domain(tmp_path / "a-*.csv"))}) == 3
    books, movies = (Domain(name=name, format="demo") for name in ("books", "movies"))
    assert source_fingerprint(books) == source_fingerprint(books) != source_fingerprint(movies)
    address = domain("http://127.0.0.1:1/a.csv")
    assert source_fingerprint(address) == source_fingerprint(address), "asks no server"


def test_a_file_is_read_again_only_when_its_size_or_time_has_changed(tmp_path: Path) -> None:
    path, kept = pack(tmp_path / "a.csv", as_delimited(ROWS)), tmp_path / "digests.json"
    os.utime(path, ns=(1, 1))
    first = source_fingerprint(domain(path), kept)
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))
    assert source_fingerprint(domain(path), kept) == first, "the shortcut was taken"
    os.utime(path, ns=(2, 2))
    changed = source_fingerprint(domain(path), kept)
    assert changed == source_fingerprint(domain(path)) != first
    kept.write_text("no JSON")
    assert source_fingerprint(domain(path), kept) == changed


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """A folder that gets a file a day, and loses the oldest, would make the shortcuts grow for ever."""
    kept, days = tmp_path / "digests.json", [pack(tmp_path / f"day-{n}.csv", as_delimited(ROWS)) for n in range(3)]
    for day in days:
        os.utime(day, ns=(1, 1))
    source_fingerprint(domain(tmp_path / "day-*.csv"), kept)
    days[0].unlink()
    source_fingerprint(domain(days[2]), kept)
    assert [Path(name).name for name in json.loads(kept.read_text())] == ["day-1.csv", "day-2.csv"]


def test_of_a_file_that_was_just_written_no_shortcut_is_kept(tmp_path: Path) -> None:
    """It may be written again within the resolution of its time."""
    path, kept = pack(tmp_path / "a.csv", as_delimited(ROWS)), tmp_path / "digests.json"
    first, seen = source_fingerprint(domain(path), kept), path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert source_fingerprint(domain(path), kept) != first
