"""From a domain's ``path`` to the files on this machine."""

import glob
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.buckets import Object, copies_of, is_bucket, objects_of
from ptupcdr_core.sources.download import fetch, is_address

Found = TypeVar("Found")

log = logging.getLogger(__name__)


def locate(domain: Domain, downloads: Path) -> list[Path]:
    """The domain's files: one, or those a glob matches in the order of their names; none for generated ratings and for
    a server's table.

    Args:
        domain: whose ``path`` is a file, a glob, or an http(s) or s3 address.
        downloads: the folder that keeps what was fetched.

    Raises:
        SourceError: there is no such file, or it cannot be fetched.
    """
    if domain.path is None or domain.format == "postgres":
        return []
    if is_address(domain.path):
        return [fetch(domain.path, downloads)]
    if is_bucket(domain.path):
        return copies_of(domain, bucket_objects(domain), downloads)
    return local_files(domain)


def local_files(domain: Domain) -> list[Path]:
    """The files that a path, glob or folder names, relative to the catalog's folder, that are not being written.

    For a folder these are all files below it, except those whose name or folder begins with ``_`` or ``.``, like the
    markers and unfinished files of other programs.

    Raises:
        SourceError: there is none.
    """
    pattern = domain.folder / Path(domain.path or "").expanduser()
    found = [file for file in _named(pattern) if file.is_file()]
    return _finished(found, domain, str(pattern), lambda file: _is_ready(file, domain))


def bucket_objects(domain: Domain) -> list[Object]:
    """The objects that an s3 address names, that are not being written; see ``local_files``.

    Raises:
        SourceError: there is none.
        FetchError: the store does not answer, or does not let us in.
    """
    found, keys = objects_of(domain)

    def is_ready(each: Object) -> bool:
        marked = domain.marker is None or str(PurePosixPath(each.key).parent / domain.marker) in keys
        return marked and time.time() - each.modified / 1e9 >= domain.settled_seconds

    return _finished(found, domain, domain.shown_path, is_ready)


def _finished(found: Sequence[Found], domain: Domain, pattern: str, is_ready: Callable[[Found], bool]) -> list[Found]:
    where = f"check domains.{domain.name}.path in the catalog"
    if not found:
        raise SourceError(f"domain {domain.name}: no file {pattern}; {where}")
    ready = [each for each in found if is_ready(each)]
    if not ready:
        raise SourceError(
            f"domain {domain.name}: all {len(found)} files of {pattern} are still being written (settled_seconds, "
            f"marker); run again later, or {where}"
        )
    if len(ready) < len(found):
        log.warning("domain %s: %d files are still being written and left out", domain.name, len(found) - len(ready))
    return ready


def _named(pattern: Path) -> list[Path]:
    # A file whose own name has brackets in it is that file, not a pattern.
    if pattern.is_file():
        return [pattern]
    if pattern.is_dir():
        below = (path for path in pattern.rglob("*") if not _is_hidden(path.relative_to(pattern)))
        return sorted(below, key=str)
    return [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.parts)


def _is_ready(file: Path, domain: Domain) -> bool:
    marked = domain.marker is None or (file.parent / domain.marker).is_file()
    return marked and time.time() - file.stat().st_mtime >= domain.settled_seconds
