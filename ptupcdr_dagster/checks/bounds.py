"""The numbers that checks hold tables to, in a file that people can read and edit."""

import tomllib
from importlib.resources import files
from pathlib import Path

from ptupcdr_core.errors import CatalogError
from ptupcdr_core.store.home import Home, catalog_path_from_environment

FILE = "bounds.toml"
Bounds = dict[str, dict[str, float]]


def bounds_of(home: Home, asset: str) -> dict[str, float]:
    """An asset's bounds: the project's own, under those of the file beside the catalog, under those of the home's.

    Raises:
        CatalogError: one of the files is not TOML, or sets something that is no bound.
    """
    own = _own()
    chosen = dict(own.get(asset, {}))
    for folder in (catalog_path_from_environment().parent, home.root):
        if (folder / FILE).is_file():
            chosen |= _read(folder / FILE, own).get(asset, {})
    return chosen


def _own() -> Bounds:
    found: Bounds = tomllib.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return found


def _read(path: Path, own: Bounds) -> Bounds:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{path}: not a readable TOML file of bounds ({error})") from error
    for asset, bounds in given.items():
        if asset not in own or not isinstance(bounds, dict):
            raise CatalogError(f"{path}: unknown key {asset}; expected some of: {', '.join(f'[{a}]' for a in own)}")
        for name, value in bounds.items():
            if name not in own[asset]:
                raise CatalogError(f"{path}: unknown key {asset}.{name}; expected some of: {', '.join(own[asset])}")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise CatalogError(f"{path}: {asset}.{name}: expected a number, got {value!r}")
    return given
