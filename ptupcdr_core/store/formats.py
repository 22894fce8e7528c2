"""Format numbers: what is stored says how, so that a later version never takes it for something else.

A number is raised when the same place comes to mean something else, and only then. What bears another number, or none,
is refused with a remedy. A benchmark's cells and a search's trials bear theirs in the name that they are found by, so
that those of another format are not found and made again.
"""

from pathlib import Path

HOME = 1
"""Which folders a home has, and what lies in which."""
TABLES = 1
"""One partition's DuckDB file and its table ``provenance``; what other tables hold is the asset's version's matter."""
CHECKPOINT = 1
"""A manifest and the weights that it names."""
BUNDLE = 2
"""What serves a pair; since 2 it says what it was trained on."""
BUNDLE_BEFORE = 1
"""Is read as well: it serves as it did, and does not say."""
DECISION = 1
"""By which decision a champion came to be; one of another format is not used, and the model judged again."""
SETTINGS_FILE = 1
"""One line a setting; a file written by hand may leave the number out."""
CELL = 1
"""The folder of one cell of a benchmark."""
SEARCH = 1
"""A study in a search's journal, and the attributes of its trials."""


def refusal(what: str, path: Path, found: object, known: int, remedy: str) -> str | None:
    """What to tell somebody whose file is of another format; None where it is of the one that is known.

    Args:
        what: the file is, such as ``a bundle``.
        path: where it stands.
        found: the number that it bears; None where it bears none.
        known: the number that this version reads.
        remedy: what to do, in the imperative.
    """
    if found == known:
        return None
    said = "without a format number" if found is None else f"of format {found}"
    return f"{path}: {what} {said}, and this version reads format {known}; {remedy}"
