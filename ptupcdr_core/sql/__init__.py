"""The SQL statements that read, clean and split, in files of their own, and how names and values are put into them."""

from importlib.resources import files
from pathlib import Path


def statement(name: str, package: str = __name__) -> str:
    """The text of one statement file."""
    return files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def literal(value: object) -> str:
    """A value as an SQL string, where DuckDB takes no parameter (ATTACH, views, table functions)."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def file_literal(path: Path) -> str:
    """A path for a reader that takes patterns, with the special characters of patterns escaped."""
    return literal("".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path)))
