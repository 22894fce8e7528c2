"""Single bad rows are left out with reason and place; a bad file is a clear error, and nothing is lost."""

import random
import threading
import time
from pathlib import Path

import duckdb
import pytest
from ratings_files import ROWS, as_delimited, as_duckdb, as_json_lines, as_parquet, ingest, kept, pack, rejected

from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.sources.staging import _beside
from ptupcdr_core.store.warehouse import Warehouse

GOOD = as_delimited(ROWS)
MANY = as_delimited([(f"user{n % 97}", f"item{n}", 1 + n % 5, n) for n in range(20_000)])


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "home" / "warehouse", threads=2)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b",i,5,1", "empty_user_id"),
        (b'"",i,5,1', "empty_user_id"),
        (b"  ,i,5,1", "empty_user_id"),
        (b"u,,5,1", "empty_item_id"),
        (b"u,i,,1", "rating_not_a_number"),
        (b"u,i,five,1", "rating_not_a_number"),
        (b"u,i,nan,1", "rating_not_a_number"),
        (b"u,i,inf,1", "rating_not_a_number"),
        (b"u,i,0.5,1", "rating_off_scale"),
        (b"u,i,5.01,1", "rating_off_scale"),
        (b"u,i,-1,1", "rating_off_scale"),
        (b"u,i,0_4,1", "rating_not_a_number"),
        (b"u,i,4_0,1", "rating_not_a_number"),
        (b"u,i,5,1_0", "timestamp_unparseable"),
        (b"u,i,5,epoch", "timestamp_unparseable"),
        (b"u,i,5,-9999-01-01", "timestamp_unparseable"),
        (b"u,i,5,2014-05-13 (BC)", "timestamp_unparseable"),
        (b"u,i,5,1e23", "timestamp_unparseable"),
        (b"u,i,5,yesterday", "timestamp_unparseable"),
        (b"u,i,5,2014-02-30", "timestamp_unparseable"),
        (b"u,i,5,nan", "timestamp_unparseable"),
        (b"u,i,5", "wrong_number_of_fields"),
        (b"u,i,5,1,more", "wrong_number_of_fields"),
        (b"   ", "wrong_number_of_fields"),
        (b"u\xff,i,5,1", "invalid_utf8"),
        (b'"u"x,i,5,1', "unterminated_quote"),
        (b"ann,0001,4,1", "superseded"),
    ],
)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_bad_csv_row_is_left_out_with_reason_and_place(
    warehouse: Warehouse, tmp_path: Path, line: bytes, reason: str, compression: str | None
) -> None:
    lines = GOOD.splitlines(keepends=True)
    path = pack(tmp_path / "a.csv", b"".join([*lines[:3], line + b"\n", *lines[3:]]), compression)
    report = ingest(warehouse, path)
    assert kept(warehouse) == ROWS
    assert rejected(warehouse) == [(reason, 3)], "the third row, the header not counted"
    assert (report.rows_read, report.kept, report.rejected) == (5, 4, {reason: 1})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"user_id": "u", "item_id": "i", "rating": 5, "timestamp": 1', "malformed_json"),
        (b"{'user_id': 'u'}", "malformed_json"),
        (b"u,i,5,1", "malformed_json"),
        (b'{"user_id": "\\ud800", "item_id": "i", "rating": 5}', "malformed_json"),
        (b'{"user_id": "u\xff", "item_id": "i", "rating": 5}', "invalid_utf8"),
        (b'["u", "i", 5, 1]', "empty_user_id"),
        (b'{"user_id": null, "item_id": "i", "rating": 5}', "empty_user_id"),
        (b'{"user_id": "u", "rating": 5}', "empty_item_id"),
        (b'{"user_id": "u", "item_id": "i", "rating": [5]}', "rating_not_a_number"),
        (b'{"user_id": "u", "item_id": "i", "rating": true}', "rating_not_a_number"),
        (b'{"user_id": "u", "item_id": "i", "rating": 5, "timestamp": {}}', "timestamp_unparseable"),
    ],
)
def test_a_bad_json_line_is_left_out_with_reason_and_place(
    warehouse: Warehouse, tmp_path: Path, line: bytes, reason: str
) -> None:
    lines = as_json_lines(ROWS).splitlines(keepends=True)
    report = ingest(warehouse, pack(tmp_path / "a.jsonl", b"".join([*lines[:2], line + b"\n", *lines[2:]])), "jsonl")
    assert kept(warehouse) == ROWS
    assert rejected(warehouse) == [(reason, 3)]
    assert report.rows_read == 5


def test_rejected_rows_keep_their_raw_text_their_file_and_their_number(warehouse: Warehouse, tmp_path: Path) -> None:
    first = as_delimited(ROWS) + b"x\nu,i,five,soon\n"
    second = b"user_id,item_id,rating,timestamp\nbroken\nbroken,2\n,i,9,1\nann,0002,2,100\nv,i,4,2\n"
    paths = [pack(tmp_path / name, content) for name, content in (("a.csv", first), ("b.csv", second))]
    report = ingest(warehouse, tmp_path / "*.csv")
    with warehouse.read("raw_ratings", "books") as connection:
        rows = connection.execute("select * from rejected_ratings").fetchall()
        counts = connection.execute("from ingest_counts").fetchall()
    assert rows == [
        ("books", None, None, None, None, "wrong_number_of_fields", str(paths[0]), 5),
        ("books", "u", "i", "five", "soon", "rating_not_a_number", str(paths[0]), 6),
        ("books", None, None, None, None, "wrong_number_of_fields", str(paths[1]), 1),
        ("books", None, None, None, None, "wrong_number_of_fields", str(paths[1]), 2),
        ("books", None, "i", "9", "1", "empty_user_id", str(paths[1]), 3),
        ("books", "ann", "0002", "2", "100", "superseded", str(paths[1]), 4),
    ]
    assert counts == [("books", str(paths[0]), 6, 4, 2), ("books", str(paths[1]), 5, 1, 4)]
    assert (report.rows_read, report.kept, sum(report.rejected.values())) == (11, 5, 6)


def test_places_are_right_in_a_large_file_read_by_several_threads(warehouse: Warehouse, tmp_path: Path) -> None:
    lines = [f"user{n % 97},item{n},{1 + n % 5},{n}\n" for n in range(400_000)]
    bad = {7: "short\n", 8: "u,i,9,1\n", 150_000: "a,b,c,d,e\n", 150_001: ",i,1,1\n", 399_999: "u,i,x,1\n"}
    for place, line in bad.items():
        lines[place] = line
    path = pack(tmp_path / "a.csv", ("user_id,item_id,rating,timestamp\n" + "".join(lines)).encode())
    ingest(warehouse, path)
    assert [row for _, row in rejected(warehouse)] == [place + 1 for place in bad]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.replace(b"rating", b"stars"), r"no column rating; it has user_id, item_id, stars, timestamp"),
        (GOOD.replace(b"item_id", b"user_id"), r"no column item_id"),
        (GOOD.replace(b"timestamp", b"rating"), r"no column timestamp"),
        (GOOD.replace(b",timestamp", b",rating,timestamp"), r"more than one column rating"),
        (b"", r"empty, expected a header line; get it anew"),
        (
            b"user_id,item_id,rating,timestamp\n",
            r"a\.csv: not one rating is left of 0 rows \(it has no rows\): get the file anew",
        ),
        (
            GOOD.replace(b"0001", b"").replace(b"0002", b"").replace("☃".encode(), b""),
            r"a\.csv: not one rating is left of 4 rows \(4 empty_item_id\). The first, empty_item_id, is row 1 of .*; "
            r"check that domains\.books\.columns in the catalog names the right ones",
        ),
        (
            b"user_id,item_id,rating,timestamp\nu,i,50,1\n",
            r"row 1 of .*a\.csv with '50'; set domains\.books\.scale to",
        ),
        (b"h" * 200_000 + b"," + GOOD, r"a\.csv, line 1: no header line can be read .* Check path and format"),
        (bytes(200_000), r"a\.csv, line 1: no header line can be read"),
        (GOOD.replace(b",", b"\t"), r'Its fields are separated by tabs: set format = "tsv" in the catalog'),
        (GOOD.replace(b",", b";"), r"Its fields seem to be separated by ';'"),
        (GOOD.decode().encode("utf-16"), r"It is not UTF-8: convert it, for example with iconv"),
        (GOOD + b'"u,i,5,1\nv,i,5,1\nw,i,5,1\n', r"row 6: a quote is opened and not closed"),
        (GOOD.replace(b"\n", b"\r\n", 2), r"its line ends are not all the same"),
    ],
)
def test_a_file_that_is_not_as_described_leaves_the_old_table(
    warehouse: Warehouse, tmp_path: Path, content: bytes, message: str
) -> None:
    path = pack(tmp_path / "a.csv", GOOD)
    ingest(warehouse, path)
    before = warehouse.file("raw_ratings", "books").read_bytes()
    pack(path, content)
    with pytest.raises(SourceError, match=message):
        ingest(warehouse, path)
    assert warehouse.file("raw_ratings", "books").read_bytes() == before
    assert kept(warehouse) == ROWS


def damaged(content: bytes, how: str) -> bytes:
    middle = len(content) // 2
    match how:
        case "cut in half":
            return content[:middle]
        case "without its end":
            return content[:-8]
        case "a bit flipped":
            return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        case "wrong checksum":
            return content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]
        case "something behind it":
            return content + b"behind"
    raise AssertionError(how)


@pytest.mark.parametrize(
    ("compression", "how"),
    [
        ("gzip", "cut in half"),
        ("gzip", "without its end"),
        ("gzip", "a bit flipped"),
        ("gzip", "wrong checksum"),
        ("gzip", "something behind it"),
        ("zstd", "cut in half"),
        ("zstd", "without its end"),
    ],
)
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_damaged_archive_is_an_error_even_where_duckdb_would_read_on(
    warehouse: Warehouse, tmp_path: Path, format: str, compression: str, how: str
) -> None:
    content = MANY if format == "csv" else as_json_lines([(f"u{n % 97}", f"i{n}", 3, n) for n in range(20_000)])
    path = pack(tmp_path / f"a.{format}", content, compression)
    ingest(warehouse, path, format)
    before = kept(warehouse)
    path.write_bytes(damaged(path.read_bytes(), how))
    with pytest.raises(SourceError, match=r"a\.(csv|jsonl) is damaged"):
        ingest(warehouse, path, format)
    assert kept(warehouse) == before


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd"])
def test_no_flipped_bit_of_a_parquet_file_with_checksums_changes_a_row(
    warehouse: Warehouse, tmp_path: Path, codec: str
) -> None:
    """DuckDB alone takes most of them for values."""
    rows = [(f"user{n % 97}", f"item{n}", float(1 + n % 5), n) for n in range(3_000)]
    path = as_parquet(tmp_path / "a.parquet", rows, codec, write_page_checksum=True)
    whole, chance, wrong = path.read_bytes(), random.Random(codec), 0
    with duckdb.connect() as connection:
        for _ in range(12):
            place = chance.randrange(len(whole))
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
            wrong += accepted(connection, path) not in (None, rows)
            try:
                ingest(warehouse, path, "parquet")
            except SourceError:
                continue
            assert kept(warehouse) == rows
    assert wrong, "else this shows nothing"


def accepted(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple] | None:
    try:
        return connection.execute("from read_parquet(?)", [str(path)]).fetchall()
    except duckdb.Error:
        return None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize(("format", "line"), [("csv", b"u,i,5,1\n"), ("jsonl", b" \n"), ("jsonl", bytes(1000))])
def test_what_unpacks_to_more_than_allowed_is_stopped(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, line: bytes, compression: str
) -> None:
    monkeypatch.setenv("PTUPCDR_UNPACKED_LIMIT", "4MB")
    path = pack(
        tmp_path / f"bomb.{format}", (GOOD if format == "csv" else b"") + line * (8_000_000 // len(line)), compression
    )
    with pytest.raises(SourceError, match=r"bomb\..*: unpacks to more than 4000000 bytes .*PTUPCDR_UNPACKED_LIMIT"):
        ingest(warehouse, path, format)


def test_a_reading_that_begins_after_its_file_was_found_damaged_is_stopped() -> None:
    found = threading.Event()

    def look() -> None:
        found.set()
        raise SourceError("it is damaged")

    def read_late() -> None:
        with duckdb.connect() as connection, _beside(connection, look):
            found.wait()
            time.sleep(0.2)
            with pytest.raises(duckdb.InterruptException):
                connection.execute("select sum(a.range * b.range) from range(100_000) as a, range(100_000) as b")

    with pytest.raises(SourceError, match="it is damaged"):
        read_late()


@pytest.mark.parametrize("rows", [500_000, 5_000_000])
def test_parquet_that_unpacks_to_more_than_allowed_is_stopped(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Equal rows take some kilobytes, and the file's own account of its size tells nothing of what they unpack to."""
    monkeypatch.setenv("PTUPCDR_UNPACKED_LIMIT", "4MB")
    path = tmp_path / "bomb.parquet"
    one = "select 'u' as user_id, 'i' as item_id, 5.0 as rating"
    duckdb.sql(f"copy ({one} from range({rows})) to '{path}' (compression zstd)")
    assert path.stat().st_size < 1_000_000
    with pytest.raises(SourceError, match=r"bomb\.parquet: unpacks to more than 4000000 bytes .*UNPACKED_LIMIT"):
        ingest(warehouse, path, "parquet")


def test_gzip_members_one_behind_the_other_are_one_file(warehouse: Warehouse, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.csv.gz", GOOD, "gzip")
    rest = pack(tmp_path / "rest", b"last,item,5,1\n", "gzip")
    path.write_bytes(path.read_bytes() + rest.read_bytes())
    ingest(warehouse, path)
    assert kept(warehouse) == [*ROWS, ("last", "item", 5.0, 1.0)]


def test_what_a_file_is_packed_with_is_told_by_its_bytes_not_its_name(warehouse: Warehouse, tmp_path: Path) -> None:
    ingest(warehouse, pack(tmp_path / "plain.csv.gz", GOOD))
    assert kept(warehouse) == ROWS
    ingest(warehouse, pack(tmp_path / "packed.csv", GOOD, "gzip"))
    assert kept(warehouse) == ROWS


@pytest.mark.parametrize("path", ["none.csv", "none-*.csv", "folder"])
def test_a_missing_file_is_named(warehouse: Warehouse, tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match=r"domain books: no file .*domains\.books\.path"):
        ingest(warehouse, tmp_path / path)


def test_json_lines_without_the_key_name_those_they_have(warehouse: Warehouse, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.jsonl", as_json_lines(ROWS))
    with pytest.raises(
        SourceError, match="no line has the key stars; the first has user_id, item_id, rating, timestamp"
    ):
        ingest(warehouse, path, "jsonl", columns=Columns(rating="stars"))


def test_tables_and_parquet_that_are_not_as_described(warehouse: Warehouse, tmp_path: Path) -> None:
    shop = as_duckdb(tmp_path / "shop.duckdb", ROWS)
    with pytest.raises(SourceError, match="Table with name stars does not exist"):
        ingest(warehouse, shop, "duckdb", table="stars")
    with pytest.raises(SourceError, match="no column stars; it has user_id, item_id, rating, timestamp"):
        ingest(warehouse, shop, "duckdb", table="ratings", columns=Columns(rating="stars"))
    parquet = as_parquet(tmp_path / "a.parquet", ROWS)
    with pytest.raises(SourceError, match="no column stars"):
        ingest(warehouse, parquet, "parquet", columns=Columns(rating="stars"))
    with pytest.raises(SourceError, match="unpack it first"):
        ingest(warehouse, pack(tmp_path / "a.parquet.gz", parquet.read_bytes(), "gzip"), "parquet")
    for name, format in (("a.parquet", "parquet"), ("shop.duckdb", "duckdb")):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:300])
        with pytest.raises(SourceError, match=rf"{name}.* (cannot be read|is damaged)"):
            ingest(warehouse, tmp_path / name, format, table="ratings")


def test_amazon_files_of_another_kind_are_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    path = pack(tmp_path / "ratings_Books.csv", b"user,item,rating\n" + b"a,b,5\n")
    with pytest.raises(SourceError, match=r"not one rating is left of 2 rows \(2 wrong_number_of_fields\)"):
        ingest_domain(Domain(name="books", format="amazon-2014", path=str(path)), warehouse)
