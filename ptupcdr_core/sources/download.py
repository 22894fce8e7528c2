"""Files from http(s) addresses, fetched once and kept."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from filelock import FileLock

from ptupcdr_core.errors import FetchError, SourceError
from ptupcdr_core.store.replacing import replaced

TIMEOUT_SECONDS = 60
CHUNK = 1 << 20


def is_address(path: str) -> bool:
    """Whether a catalog's path is to be fetched."""
    return path.lower().startswith(("http://", "https://"))


def fetch(address: str, folder: Path) -> Path:
    """The local copy of a file; fetched if it is not there yet.

    Args:
        address: http(s); may end in ``#sha256=<hex>``, which the content must then match.
        folder: where copies are kept; deleting one makes the next run fetch it again.

    Raises:
        FetchError: the file cannot be fetched whole.
        SourceError: it is not the one that was meant.
        StorageError: it cannot be kept.
    """
    plain, _, fragment = address.partition("#")
    # The ending stays: it tells the format. What goes before it keeps equal names of different servers apart.
    name = Path(urllib.parse.urlparse(plain).path).name or "download"
    target = folder / f"{hashlib.sha256(plain.encode()).hexdigest()[:12]}-{name}"
    if not target.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(f".{target.name}.lock")):
                if not target.is_file():
                    _download(plain, fragment, target)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FetchError(f"{plain} cannot be fetched to {target}: {error}") from error
    return target


def _download(address: str, fragment: str, target: Path) -> None:
    with replaced(target) as temporary:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer, temporary.open("wb") as file:
            shutil.copyfileobj(answer, file, CHUNK)
            announced = answer.headers.get("Content-Length")
        _check(address, fragment, temporary, announced)


def _check(address: str, fragment: str, file: Path, announced: str | None) -> None:
    size = file.stat().st_size
    if announced is not None and int(announced) != size:
        raise FetchError(f"{address} broke off: {size} of {announced} bytes came; run again to fetch it anew")
    expected = urllib.parse.parse_qs(fragment).get("sha256", [])
    if expected:
        with file.open("rb") as content:
            actual = hashlib.file_digest(content, "sha256").hexdigest()
        if actual != expected[0].lower():
            raise SourceError(f"{address} is not the expected file: its sha256 is {actual}, not {expected[0]}")
