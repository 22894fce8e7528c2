"""Ratings files that hypothesis writes: good ones whose right answer is known, and damaged ones.

The answer comes from how a file was made, never from the code that reads it.
"""

import csv
import io
import json
import sqlite3
import unicodedata
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

NAMES = ("user_id", "item_id", "rating", "timestamp")
FORMATS = ("csv", "tsv", "jsonl", "parquet", "duckdb", "sqlite", "amazon-2014", "amazon-2018", "amazon-2023")
"""All formats of the catalog except databases on a server; amazon-2014 as JSON lines, 2018 as CSV without a header."""
AMAZON_JSON = ("reviewerID", "asin", "overall", "unixReviewTime")
AMAZON_CSV = ("user_id", "parent_asin", "rating", "timestamp")
LOW, HIGH = 1.0, 50.0  # a wide scale, on which 4_0 would be a rating

# Texts in files, and the numbers that they mean; None: not usable.
RATINGS: dict[str, float | None] = {
    "1": 1.0, "3": 3.0, "2.5": 2.5, "+3": 3.0, " 4 ": 4.0, "5.": 5.0, "1e1": 10.0, "50": 50.0, "050": 50.0,
    "0.99": None, "51": None, "-1": None, "": None, " ": None, "five": None, "nan": None, "inf": None, "1e400": None,
    "4_0": None, "0x10": None, "4,5": None, "٤": None, "1 2": None, "4;": None, "true": None, "'4'": None,
}  # fmt: skip
# An empty text means that the time is unknown.
TIMES: dict[str, float | None] = {
    "0": 0.0, "1": 1.0, "11": 11.0, "-5.5": -5.5, "1400000000": 1.4e9, "1400000000000": 1.4e12,
    "2014-05-13": 1399939200.0, "2014-05-13T16:53:20Z": 1.4e9, "2014-05-13 18:53:20+02:00": 1.4e9, "1e18": 1e18,
}  # fmt: skip
NO_TIMES = (
    "soon",
    "epoch",
    "-9999-01-01",
    "1e23",
    "nan",
    "inf",
    "2014-02-30",
    "1_0",
    "12:00",
    "now",
    "0044-03-15 (BC)",
)

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
_IDS = st.one_of(_TEXT, st.sampled_from(["ann", "bob", "0001", " ", "", "'; drop table staged; --", "../x", "NULL"]))
_ROWS = st.lists(
    st.tuples(_IDS, _IDS, st.sampled_from(list(RATINGS)), st.sampled_from([*TIMES, *NO_TIMES, "", " "])), max_size=12
)
Row = tuple[str, str, str, str]
LAST: Row = ("the", "last", "3", "1")


@dataclass(frozen=True)
class Made:
    """A file, and what should be read from it.

    Attributes:
        format: its format in the catalog.
        rows: the rows as they were written.
        content: the file's bytes, before damage.
        packed: how it is compressed, if at all.
    """

    format: str
    rows: tuple[Row, ...]
    content: bytes
    packed: str | None

    @property
    def lines(self) -> bool:
        """Whether it is JSON lines."""
        return self.format in ("jsonl", "amazon-2014")

    def kept(self) -> dict[tuple[str, str], tuple[float, float | None]]:
        """The rating and time of each (user, item) that must be kept."""
        best: dict[tuple[str, str], tuple[tuple[float, int], float, float | None]] = {}
        for place, (user, item, rating, time) in enumerate(self.rows):
            score = RATINGS[rating]
            moment = TIMES.get(time)
            if moment is not None and self.format == "amazon-2023" and not time.startswith("2014-"):
                moment /= 1000
            if not _blank(user) and not _blank(item) and score is not None and (moment is not None or _blank(time)):
                rank = (float("-inf") if moment is None else moment, place)
                if (user, item) not in best or best[user, item][0] < rank:
                    best[user, item] = (rank, score, moment)
        return {pair: (score, moment) for pair, (_, score, moment) in best.items()}


def _blank(text: str) -> bool:
    """Whether it has nothing but spaces, non-breaking ones included."""
    return all(unicodedata.category(letter) == "Zs" for letter in text)


@st.composite
def files(draw: st.DrawFn, formats: Sequence[str] = FORMATS) -> Made:
    """Undamaged files of these formats."""
    format = draw(st.sampled_from(formats))
    rows = (*draw(_ROWS), LAST)
    stored = format in ("parquet", "duckdb", "sqlite")
    packed = None if stored else draw(st.sampled_from([None, "gzip", "zstd"]))
    if format in ("jsonl", "amazon-2014"):
        names = NAMES if format == "jsonl" else AMAZON_JSON
        content = "".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=draw(st.booleans())) + "\n"
                          for row in rows).encode()  # fmt: skip
    elif stored:
        content = b""
    else:
        written = {
            "amazon-2018": [(item, user, rating, time) for user, item, rating, time in rows],
            "amazon-2023": [AMAZON_CSV, *rows],
        }.get(format, [NAMES, *rows])
        content = _delimited(written, "\t" if format == "tsv" else ",", draw(st.sampled_from(["\n", "\r\n"])))
    return Made(format, rows, content, packed)


def _delimited(rows: Sequence[Row], delimiter: str, ending: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows(rows)
    return text.getvalue().encode()


def write(made: Made, folder: Path) -> Path:
    """Write a file, the only one in the folder."""
    path = folder / f"made.{made.format}{'.csv' if made.format == 'amazon-2018' else ''}"
    path.unlink(missing_ok=True)
    if made.format == "parquet":
        pq.write_table(_table(made.rows), path, write_page_checksum=True)
    elif made.format == "duckdb":
        with duckdb.connect(str(path), config={"threads": 1}) as connection:
            connection.register("rows", _table(made.rows))
            connection.execute("create table ratings as from rows")
    elif made.format == "sqlite":
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(f"create table ratings ({', '.join(NAMES)})")
            database.executemany("insert into ratings values (?, ?, ?, ?)", made.rows)
    elif made.packed:
        with pa.CompressedOutputStream(str(path), made.packed) as stream:
            stream.write(made.content)
    else:
        path.write_bytes(made.content)
    return path


def _table(rows: tuple[Row, ...]) -> Any:
    columns = zip(NAMES, zip(*rows, strict=True), strict=True)
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns})


KINDS = ("cut", "flip", "insert", "remove", "repeat", "replace", "utf-16", "mixed ends", "junk")


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, float, float, bytes]:
    """A kind of damage, its place and size in the file, and the bytes it uses."""
    kind = draw(st.sampled_from(KINDS))
    place = st.floats(0, 1, exclude_max=True)
    return kind, draw(place), draw(place), draw(st.binary(min_size=1, max_size=40))


def damaged(content: bytes, damage: tuple[str, float, float, bytes]) -> bytes:
    """The bytes after the damage."""
    kind, where, much, junk = damage
    start = int(where * len(content))
    end = start + 1 + int(much * (len(content) - start))
    match kind:
        case "cut":
            return content[:start]
        case "flip":
            return content[:start] + bytes([content[start] ^ 1 << int(8 * much)]) + content[start + 1 :]
        case "insert":
            return content[:start] + junk + content[start:]
        case "remove":
            return content[:start] + content[end:]
        case "repeat":
            return content[:end] + content[start:]
        case "replace":
            return content[:start] + junk + content[end:]
        case "utf-16":
            return content.decode("latin-1").encode("utf-16")
        case "mixed ends":
            return content.replace(b"\n", b"\r\n", 1 + int(3 * much)).replace(b"\r\n", b"\n", int(2 * where))
    return junk
