"""The bounds of data checks, in files that people can read and edit."""

from pathlib import Path

from ptupcdr_core.errors import CatalogError
from ptupcdr_core.store.catalog_file import read_document
from ptupcdr_core.store.home import PACKAGE, catalog_path_from_environment

FILE = "bounds.toml"
Bounds = dict[str, dict[str, float]]


def bounds(path: Path | None = None) -> Bounds:
    """All bounds by table and name: those of the file beside the catalog, else the project's own.

    Args:
        path: that file, which need not exist; None: beside the environment's catalog.

    Raises:
        CatalogError: it is not TOML, or sets something that is not a bound.
    """
    own: Bounds = read_document(PACKAGE / FILE)
    path = path or catalog_path_from_environment().with_name(FILE)
    given = read_document(path) if path.is_file() else {}
    for table, numbers in given.items():
        if table not in own or not isinstance(numbers, dict):
            raise CatalogError(
                f"{path}: unknown key {table}; expected some of {', '.join(f'[{name}]' for name in own)}"
            )
        for name, number in numbers.items():
            if name not in own[table]:
                raise CatalogError(f"{path}: {table}.{name}: unknown key; expected some of {', '.join(own[table])}")
            if isinstance(number, bool) or not isinstance(number, int | float) or not number >= 0:
                raise CatalogError(f"{path}: {table}.{name}: expected a number of at least 0, got {number!r}")
    return {table: numbers | given.get(table, {}) for table, numbers in own.items()}
