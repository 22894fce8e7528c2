"""The error for a domain without usable rows: in which files, why, where the first bad row is, and what to do."""

import duckdb

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.columns import printable

_COLUMNS = "check that {entry}.columns in the catalog names the right ones"
_FORMAT = "check that {entry}.format in the catalog is what the file is"
_REMEDIES = {
    "empty_user_id": _COLUMNS,
    "empty_item_id": _COLUMNS,
    "rating_not_a_number": _COLUMNS,
    "weight_not_a_number": _COLUMNS,
    "weight_below_floor": "lower {entry}.least_weight in the catalog",
    "forgotten": "all of its people are forgotten: leave the domain out of the catalog",
    "rating_off_scale": "set {entry}.scale to the lowest and the highest rating there can be, in the catalog",
    "timestamp_unparseable": (
        "name another column in {entry}.columns.timestamp in the catalog, or leave it out: time is then unknown"
    ),
    "wrong_number_of_fields": _FORMAT,
    "invalid_utf8": "convert the file to UTF-8, for example with iconv",
    "malformed_json": _FORMAT + "; one JSON object a line is expected",
}
_FIELDS = {"empty_user_id": 0, "empty_item_id": 1, "rating_not_a_number": 2, "rating_off_scale": 2,
           "weight_not_a_number": 2, "weight_below_floor": 2}  # fmt: skip


def nothing_left(
    connection: duckdb.DuckDBPyConnection, domain: Domain, read: int, rejected: dict[str, int]
) -> SourceError:
    """The error for a domain of which no rating or event is left.

    Args:
        connection: where the rows were cleaned.
        domain: what was read.
        read: how many rows there were.
        rejected: rows by reason.
    """
    files = [row[0] for row in connection.execute("select source_file from source_files").fetchall()]
    kind = "rating" if domain.stars else "event"
    what = f"domain {domain.name}, {listed_files(files)}: not one {kind} is left of {read} rows"
    entry = f"domains.{domain.name}"
    if not rejected:
        return SourceError(f"{what} (it has no rows): get the file anew, or check {entry}.path in the catalog")
    reasons = ", ".join(f"{amount} {reason}" for reason, amount in rejected.items())
    most = max(rejected, key=lambda reason: rejected[reason])
    remedy = _REMEDIES.get(most, _FORMAT).format(entry=entry)
    return SourceError(
        f"{what} ({reasons}). The first, {_first(connection, most, 'rating' if domain.stars else 'weight')}; {remedy}"
    )


def listed_files(files: list[str]) -> str:
    """Files for a message: the first, and how many more."""
    return files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _first(connection: duckdb.DuckDBPyConnection, reason: str, value: str) -> str:
    [(file, row, *fields)] = connection.execute(
        f'select source_file, source_row, user_id, item_id, {value}, "timestamp" from rejected_ratings '  # nosec B608 # own columns
        "where reason = ? limit 1",
        [reason],
    ).fetchall()
    text = fields[_FIELDS.get(reason, 3)]
    found = "" if text is None else f" with {printable(text)!r}"
    return f"{reason}, is row {row} of {file}{found}"
