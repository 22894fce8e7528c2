"""Parquet files that a partition's views read: a folder a version, so that whoever reads an earlier one can finish."""

import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import duckdb

from ptupcdr_core.store.database import view_bodies

MARK = "_retired"
KEPT_SECONDS = 24 * 3600.0
"""A version that was replaced this long ago is assumed to have no readers left."""


def versions_read(connection: duckdb.DuckDBPyConnection, folder: Path) -> set[str]:
    """The versions in a partition's folder that views of the database in use read; no two have the same name."""
    bodies = view_bodies(connection).values()
    return {path.name for path in _versions(folder) if any(f"/{path.name}/" in body for body in bodies)}


def retire_others(folder: Path, read: Collection[str], kept_seconds: float = KEPT_SECONDS) -> None:
    """Mark the versions of a partition that views no longer read, and remove those that were marked long ago.

    Args:
        folder: of the partition; it need not be there.
        read: versions that stay.
        kept_seconds: age of a mark after which its version is removed; 0 removes at once.
    """
    for version in _versions(folder):
        if version.name in read:
            (version / MARK).unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):  # another process has removed it
                _retire(version, kept_seconds)


def _retire(version: Path, kept_seconds: float) -> None:
    mark = version / MARK
    if not mark.exists():
        mark.touch()
    if time.time() - mark.stat().st_mtime >= kept_seconds:
        shutil.rmtree(version, ignore_errors=True)


def _versions(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
