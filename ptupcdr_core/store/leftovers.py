"""What killed processes have left behind: temporary files, logs of databases, scratch folders."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.owner import Owner

_SCRATCH = "ptupcdr-"
_UNOWNED = re.compile(r"\.(spill-)?[0-9a-f]{32}(\.tmp.*)?")
"""Names of earlier releases, which did not hold the owner."""
_DAY_SECONDS = 24 * 3600.0
"""A leftover without a known process on this machine counts as abandoned this long after its last change."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for the block; its name tells the owner if the process is killed."""
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{Owner.present()}-") as folder:
        yield Path(folder)


def leftovers(home: Home) -> list[Path]:
    """Files and folders of processes that have ended, in this home and among the scratch folders of this machine."""
    return sorted(path for path in _temporary(home) if _abandoned(path))


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; another process may have done so already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def _temporary(home: Home) -> Iterator[Path]:
    places = (home.warehouse, home.models, home.bundles, home.benchmark, home.tuning, home.reports, home.downloads)
    for place in (home.root, home.dagster, *places):
        yield from place.glob(".*.tmp*")
    for place in places:
        yield from place.glob("*/.*.tmp*")
    yield from home.warehouse.glob(".spill-*")
    yield from Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*-*-*")


def _abandoned(path: Path) -> bool:
    owner = Owner.named_in(path.name)
    if owner is not None and owner.here:
        return owner.gone
    if owner is None and not _UNOWNED.fullmatch(path.name):
        return False
    try:
        return time.time() - path.lstat().st_mtime > _DAY_SECONDS
    except FileNotFoundError:
        return False
