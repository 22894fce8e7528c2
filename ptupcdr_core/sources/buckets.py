"""Objects of S3 and of compatible stores: those that a catalog names are listed, and copied where they are new.

They are read by pyarrow's file system, as pyarrow is needed anyway. DuckDB's own, ``httpfs``, is an extension that has
to be downloaded for each version of DuckDB. Copies are checked as every file is: counted twice, with checksums.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ptupcdr_core.addresses import filled, scrubbed, shown, without_user
from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import FetchError, SourceError, first_line
from ptupcdr_core.sources.limits import DOWNLOAD, Limits
from ptupcdr_core.store.replacing import replaced

SCHEME = "s3://"
CHUNK = 1 << 24
"""Bytes copied at a time."""


@dataclass(frozen=True)
class Object:
    """One object as the store lists it.

    Args:
        key: its name in the bucket.
        size: in bytes.
        modified: nanoseconds since 1970, as exactly as the store gives it (S3: seconds).
    """

    key: str
    size: int
    modified: int


@dataclass(frozen=True)
class Bucket:
    """What a domain names in a bucket.

    Args:
        system: pyarrow's file system for it.
        name: of the bucket.
        pattern: a key, a pattern with ``*``, ``**`` and ``[…]``, or the beginning of keys, like a folder.
    """

    system: Any
    name: str
    pattern: str

    def listed(self) -> tuple[list[Object], set[str]]:
        """The objects that are named, in the order of their keys; and the keys of all objects in the same place, marker
        files among them."""
        fixed = re.split(r"[*[]", self.pattern, maxsplit=1)[0]
        whole = fixed == self.pattern
        folder = self.pattern.rstrip("/") if whole else fixed.rpartition("/")[0]
        if whole:
            found = self._objects(str(PurePosixPath(self.pattern).parent), recursive=False)
            if one := [each for each in found if each.key == self.pattern]:
                return one, {each.key for each in found}
        below = self._objects(folder, recursive=True)
        if whole:
            named = [each for each in below if not _is_hidden(each.key[len(folder) :])]
        else:
            matching = re.compile(_as_expression(self.pattern))
            named = [each for each in below if matching.fullmatch(each.key)]
        return named, {each.key for each in below}

    def _objects(self, folder: str, *, recursive: bool) -> list[Object]:
        from pyarrow.fs import FileSelector, FileType

        place = f"{self.name}/{folder}".removesuffix("/.").rstrip("/")
        found = self.system.get_file_info(FileSelector(place, recursive=recursive, allow_not_found=True))
        files = (info for info in found if info.type == FileType.File)
        objects = (Object(info.path.removeprefix(f"{self.name}/"), info.size, info.mtime_ns) for info in files)
        return sorted(objects, key=lambda each: each.key)


def is_bucket(path: str) -> bool:
    """Whether a catalog's path names objects of a bucket."""
    return path.lower().startswith(SCHEME)


def objects_of(domain: Domain) -> tuple[list[Object], set[str]]:
    """The objects that a domain's path names; see ``Bucket.listed``.

    Raises:
        FetchError: the store does not answer, or does not let us in.
        SourceError: the address is not one of a bucket.
    """
    with _opened(domain) as bucket:
        return bucket.listed()


def copies_of(domain: Domain, objects: list[Object], downloads: Path) -> list[Path]:
    """Local copies of objects, in their order, with their times; only those that are new or have changed are fetched,
    and copies of other objects of the domain are removed.

    Raises:
        FetchError: one did not come whole.
        SourceError: one is larger than may be fetched.
    """
    folder = copies_folder(str(domain.path), downloads)
    wanted = {folder / _copy_name(each.key): each for each in objects}
    with _opened(domain) as bucket:
        for path, each in wanted.items():
            if not _is_copied(path, each):
                _fetch(bucket, each, path, Limits.from_environment())
    for other in folder.glob("[!.]*"):
        if other not in wanted:
            other.unlink(missing_ok=True)
    return list(wanted)


def copies_folder(path: str, downloads: Path) -> Path:
    """Where the copies of what a path names are kept; user and password do not matter."""
    identity = without_user(path)
    return downloads / f"{hashlib.sha256(identity.encode()).hexdigest()[:12]}-objects"


@contextmanager
def _opened(domain: Domain) -> Iterator[Bucket]:
    from pyarrow.fs import FileSystem

    address = str(domain.path)
    with_secrets = filled(address)
    place, _, query = with_secrets[len(SCHEME) :].partition("?")
    user, at, rest = place.rpartition("@")
    name, _, pattern = rest.partition("/")
    if not name or not pattern:
        raise SourceError(f"domain {domain.name}: {shown(address)}: expected {SCHEME}BUCKET/KEY")
    try:
        system, _ = FileSystem.from_uri(f"{SCHEME}{user}{at}{name}" + (f"?{query}" if query else ""))
        yield Bucket(system, name, pattern)
    except (OSError, ValueError) as error:
        # Raised without its causes: their texts hold the address.
        reason = scrubbed(first_line(error), with_secrets)
        raise FetchError(
            f"domain {domain.name}: {shown(address)} cannot be read: {reason}; check the bucket, its region or "
            "endpoint_override, and that whoever asks may list and read it (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
        ) from None


def _is_copied(path: Path, wanted: Object) -> bool:
    if not path.is_file():
        return False
    state = path.stat()
    return (state.st_size, state.st_mtime_ns) == (wanted.size, wanted.modified)


def _fetch(bucket: Bucket, wanted: Object, path: Path, limits: Limits) -> None:
    if wanted.size > limits.download:
        raise SourceError(
            f"{SCHEME}{bucket.name}/{wanted.key} has {wanted.size} bytes, more than may be fetched; raise {DOWNLOAD}"
        )
    with replaced(path) as temporary:
        source = bucket.system.open_input_stream(f"{bucket.name}/{wanted.key}", compression=None)
        with source, temporary.open("wb") as copy:
            shutil.copyfileobj(source, copy, CHUNK)
        if temporary.stat().st_size != wanted.size:
            raise FetchError(f"{SCHEME}{bucket.name}/{wanted.key} changed while it was read; run again")
        os.utime(temporary, ns=(wanted.modified, wanted.modified))


def _copy_name(key: str) -> str:
    # The ending stays: it tells the format; keys that end alike are kept apart.
    return f"{hashlib.sha256(key.encode()).hexdigest()[:12]}-{re.sub(r'[^-.A-Za-z0-9_]', '_', key)[-150:]}"


def _is_hidden(key: str) -> bool:
    return any(part.startswith(("_", ".")) for part in key.split("/"))


def _as_expression(pattern: str) -> str:
    """A pattern as a regular expression: ``*`` within a part of the key, ``**/`` over any number of parts."""
    parts = re.split(r"(\*\*/|\*|\[[^]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return "".join(
        known.get(part) or (re.sub(r"^\[!", "[^", part) if part[:1] == "[" else re.escape(part)) for part in parts
    )
