"""What is inside a domain's files: their kind, and which columns are user, item, rating and time."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ptupcdr_core.catalog import Columns, Domain

Kind = Literal["csv", "jsonl", "parquet", "duckdb", "sqlite", "postgres", "demo", "added"]

COMPRESSIONS = (".gz", ".zst", ".zstd")
_AMAZON_JSON = Columns(user="reviewerID", item="asin", rating="overall", timestamp="unixReviewTime")
# The ratings-only files of 2014 and 2018 have no header, and their first two columns are in different orders.
_AMAZON_2014_CSV = ("user_id", "item_id", "rating", "timestamp")
_AMAZON_2018_CSV = ("item_id", "user_id", "rating", "timestamp")
_AMAZON_2023 = Columns(user="user_id", item="parent_asin", rating="rating", timestamp="timestamp")
_STANDARD = Columns(timestamp="timestamp")


@dataclass(frozen=True)
class Layout:
    """How one file is read.

    Args:
        kind: the reader.
        columns: the file's names for user, item, rating and time.
        delimiter: between the fields of a CSV line.
        header: the column names of a CSV file that has no header line; None where it has one.
        ticks_per_second: of a numeric timestamp; 1000 where it counts milliseconds.
        rated: whether its rows have stars; events may have a weight instead.
    """

    kind: Kind
    columns: Columns
    delimiter: str = ","
    header: tuple[str, ...] | None = None
    ticks_per_second: int = 1
    rated: bool = True

    @property
    def fields(self) -> list[str | None]:
        """The file's names for user, item, value (a rating, or an event's weight) and time; None: not read."""
        value = self.columns.rating if self.rated else self.columns.weight
        return [self.columns.user, self.columns.item, value, self.columns.timestamp]


def layout_of(domain: Domain, path: Path | None) -> Layout:
    """The layout of one of the domain's files; an Amazon file's form is told by the ending of its name.

    Amazon 2014 and 2018: ``.csv`` (before ``.gz`` or ``.zst``) is the ratings-only CSV without a header, everything
    else the 5-core JSON lines. Amazon 2023 is always CSV with a header.
    """
    return replace(_written(domain, path), rated=domain.feedback == "explicit")


def _written(domain: Domain, path: Path | None) -> Layout:
    match domain.format:
        case "demo":
            return Layout("demo", _STANDARD)
        case "csv":
            return Layout("csv", domain.columns)
        case "tsv":
            return Layout("csv", domain.columns, delimiter="\t")
        case "amazon-2023":
            return Layout("csv", _AMAZON_2023, ticks_per_second=1000)
        case "amazon-2014":
            return _amazon(path, _AMAZON_2014_CSV)
        case "amazon-2018":
            return _amazon(path, _AMAZON_2018_CSV)
        case "jsonl" | "parquet" | "duckdb" | "sqlite" | "postgres" as kind:
            return Layout(kind, domain.columns)
        case _:
            return Layout("added", domain.columns)


def _amazon(path: Path | None, header: tuple[str, ...]) -> Layout:
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in COMPRESSIONS] if path else []
    return Layout("csv", _STANDARD, header=header) if endings[-1:] == [".csv"] else Layout("jsonl", _AMAZON_JSON)
