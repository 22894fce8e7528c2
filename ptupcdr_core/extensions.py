"""What others add without editing this package: methods, source formats and engines, found by their entry points.

A package names them in its ``pyproject.toml``; installing it is enough::

    [project.entry-points."ptupcdr.methods"]
    shrunken_mean = "my_package.shrunken_mean:METHODS"     # a tuple of ``methods.method.Method``

    [project.entry-points."ptupcdr.formats"]
    movielens = "my_package.movielens:read"                # path -> pyarrow table with the columns of the catalog

    [project.entry-points."ptupcdr.engines"]
    spark = "ptupcdr_spark.engine:SPARK"                   # a ``stages.row_engine.RowEngine``
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pyarrow as pa

METHODS, FORMATS, ENGINES = "ptupcdr.methods", "ptupcdr.formats", "ptupcdr.engines"

ReadFile = Callable[[Path], "pa.Table"]
"""Reads one file of a domain; the catalog's ``columns`` say which of the table's columns are what."""


def added_methods() -> list[Any]:
    """The methods (``methods.method.Method``) of all installed packages, in the order of their entry points' names."""
    return [method for entry in sorted(entry_points(group=METHODS), key=lambda e: e.name) for method in entry.load()]


def added_formats() -> set[str]:
    """The names of the source formats that installed packages add; none of them is loaded."""
    return _names(FORMATS)


def reader_of(name: str) -> ReadFile:
    """The reader of files in a format that a package added.

    Raises:
        KeyError: no installed package has it.
    """
    return cast(ReadFile, _named(FORMATS, name))


def added_engines() -> set[str]:
    """The names of the engines of all installed packages, this one's too; none of them is loaded."""
    return _names(ENGINES)


def engine_named(name: str) -> Any:
    """The engine (``stages.row_engine.RowEngine``) that was added by this name; it cleans and splits ratings.

    Raises:
        KeyError: no installed package has it.
    """
    return _named(ENGINES, name)


def _names(group: str) -> set[str]:
    return {entry.name for entry in entry_points(group=group)}


def _named(group: str, name: str) -> Any:
    [*found] = entry_points(group=group, name=name)
    if not found:
        raise KeyError(name)
    return found[0].load()
