"""Files from http(s) addresses, fetched once and kept; an interrupted download continues where it stopped."""

import hashlib
import os
import re
import time
from pathlib import Path

from filelock import FileLock

from ptupcdr_core.addresses import filled, scrubbed, shown, without_user
from ptupcdr_core.errors import FetchError, SourceError, StorageError
from ptupcdr_core.sources.limits import Limits
from ptupcdr_core.sources.transfer import BrokeOffError, Part, transfer
from ptupcdr_core.store.replacing import replaced, writing

ATTEMPTS = 3
PAUSE_SECONDS = 1.0
"""Between the attempts at a download."""


def is_address(path: str) -> bool:
    """Whether a catalog's path is to be fetched."""
    return path.lower().startswith(("http://", "https://"))


def fetch(address: str, folder: Path, limits: Limits | None = None) -> Path:
    """The local copy of a file; fetched if it is not there yet.

    Args:
        address: http(s); may hold user and password, name environment variables (``${NAME}``), and end in
            ``#sha256=<hex>``, which the content must then match. Without a user, ``.netrc`` is used.
        folder: where copies are kept; deleting one makes the next run fetch it again.
        limits: of time and size; None: those that the environment sets.

    Raises:
        FetchError: the file cannot be fetched whole.
        SourceError: it is not the expected file.
        StorageError: it cannot be kept.
    """
    plain, _, digest = address.partition("#sha256=")
    target = local_copy(plain, folder)
    if not target.is_file():
        with writing(target):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.is_file():
                _download(plain, digest, target, limits or Limits.from_environment())
    return target


def local_copy(address: str, folder: Path) -> Path:
    """Where the copy of an address is kept."""
    return folder / _name(address.partition("#sha256=")[0])


def part_of(copy: Path) -> Path:
    """Where an unfinished download of a copy is kept."""
    return copy.with_name(f".{copy.name}.part")


def _name(address: str) -> str:
    # The ending stays, as it tells the format. The digest before it keeps equal names of different servers apart.
    # Neither depends on user and password, so that a new password fetches nothing anew.
    identity = without_user(address)
    path = identity.partition("?")[0].partition("#")[0].partition("://")[2].partition("/")[2]
    last = re.sub(r"[^\w.-]", "_", path.rpartition("/")[2])[-150:]
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:12]}-{last or 'download'}"


def _download(address: str, digest: str, target: Path, limits: Limits) -> None:
    part = Part(part_of(target))
    with_secrets = filled(address)
    deadline = time.monotonic() + limits.seconds
    for attempt in range(1, ATTEMPTS + 1):
        try:
            transfer(with_secrets, part, deadline, limits)
            break
        except BrokeOffError as error:
            kept = part.keep_if_resumable()
            if attempt == ATTEMPTS or time.monotonic() + PAUSE_SECONDS > deadline:
                raise FetchError(_told(address, with_secrets, f"{error}; {_remedy(kept, deadline, limits)}")) from None
            time.sleep(PAUSE_SECONDS)
        except StorageError:
            part.keep_if_resumable()  # on a full disk, a part that cannot be continued only takes up room
            raise
        except SourceError as error:
            part.discard()
            raise SourceError(_told(address, with_secrets, str(error))) from None
    _check(address, digest, part)
    with replaced(target) as temporary:
        os.replace(part.file, temporary)
    part.discard()


def _told(address: str, with_secrets: str, what: str) -> str:
    # Raised without their causes: their texts hold the address.
    return f"{shown(address)} cannot be fetched: {scrubbed(what, with_secrets, *_proxies())}"


def _proxies() -> list[str]:
    return [value for name, value in os.environ.items() if name.lower().endswith("_proxy") and "@" in value]


def _remedy(kept: int, deadline: float, limits: Limits) -> str:
    again = f"{kept} bytes are kept, run again to continue from there" if kept else "run again to start over"
    late = time.monotonic() + PAUSE_SECONDS > deadline
    return f"{again}, or raise PTUPCDR_DOWNLOAD_SECONDS (now {limits.seconds:g})" if late else again


def _check(address: str, digest: str, part: Part) -> None:
    if digest:
        with part.file.open("rb") as content:
            actual = hashlib.file_digest(content, "sha256").hexdigest()
        if actual != digest.lower():
            part.discard()
            raise SourceError(
                f"{shown(address)} is not the expected file: its sha256 is {actual}, not {digest}; correct the "
                "address in the catalog, or ask whoever published it"
            )
