"""Format numbers: stored data say their format, so that a later version never misreads them.

A number is raised when, and only when, stored data of the old form would be misread. Data with another number, or none,
are refused with a remedy. A benchmark's cells and a search's trials have theirs in the name by which they are found, so
that those of another format are not found, and are made again.
"""

from pathlib import Path

HOME = 1
"""A home's folders, and what each holds."""
TABLES = 1
"""One partition's DuckDB file and its table ``provenance``; the form of other tables belongs to the asset's version."""
CHECKPOINT = 1
"""A manifest and the weights that it names."""
BUNDLE = 2
"""What serves a pair; since format 2 with a summary of its training data."""
BUNDLE_BEFORE = 1
"""Is read as well: it serves as it did, without that summary."""
DECISION = 1
"""The decision that made a champion; one of another format is not used, and the model is judged again."""
SETTINGS_FILE = 1
"""One line a setting; a file written by hand may leave the number out."""
CELL = 1
"""The folder of one cell of a benchmark."""
SEARCH = 1
"""A study in a search's journal, and the attributes of its trials."""


def refusal(what: str, path: Path, found: object, known: int, remedy: str) -> str | None:
    """What to tell somebody whose file is of another format; None where it is of the one that is known.

    Args:
        what: what the file is, such as ``a bundle``.
        path: the file.
        found: the file's number; None where it has none.
        known: the number that this version reads.
        remedy: what to do, in the imperative.
    """
    if found == known:
        return None
    said = "without a format number" if found is None else f"of format {found}"
    return f"{path}: {what} {said}, and this version reads format {known}; {remedy}"
