"""Finding the wanted columns among those a file has."""

from collections.abc import Sequence
from pathlib import Path

from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.layout import Layout

MOST, LONGEST = 20, 60
"""Names in a message, and letters of each, at most."""


def wanted(layout: Layout, names: Sequence[str], path: Path | str) -> list[str | None]:
    """The names of user, item, value and timestamp, in this order; None for what is not named or not read.

    Raises:
        SourceError: the file has no such column, or has it twice.
    """
    fields = layout.fields
    missing = [name for name in fields if name and name not in names]
    if missing:
        raise SourceError(f"{path}: no column {', '.join(missing)}; it has {listed(names)}. {_remedy(names)}")
    twice = [name for name in fields if name and list(names).count(name) > 1]
    if twice:
        raise SourceError(f"{path}: more than one column {', '.join(twice)}; rename one in the file")
    return fields


def listed(names: Sequence[str]) -> str:
    """The first names of a file's columns, in one line that is safe to print."""
    return ", ".join(map(printable, names[:MOST])) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")


def printable(text: str) -> str:
    """The beginning of a text, without control characters that a terminal would obey."""
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:LONGEST])
    return plain + "…" * (len(text) > LONGEST)


def _remedy(names: Sequence[str]) -> str:
    if any("\0" in name or "\N{REPLACEMENT CHARACTER}" in name for name in names):
        return "It is not UTF-8: convert it, for example with iconv"
    delimiter = next((sign for sign in "\t;|" if len(names) == 1 and sign in names[0]), None)
    if delimiter == "\t":
        return 'Its fields are separated by tabs: set format = "tsv" in the catalog'
    if delimiter:
        return f"Its fields seem to be separated by {delimiter!r}: separate them by ','"
    return "Set columns of the domain in the catalog"
