"""Digests of files' contents; size and time of change serve only to avoid reading a file again."""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ptupcdr_core.errors import StorageError
from ptupcdr_core.store.replacing import replaced

SETTLED_SECONDS = 2.0
"""A file that was changed this recently may change again without a difference in its time: it is read again."""


def file_digests(files: Sequence[Path], shortcuts: Path | None = None) -> list[tuple[str, str]]:
    """Name and SHA-256 of each file.

    Args:
        files: all of them exist.
        shortcuts: a file that keeps the digest of each file by its size and time of change, so that what was not
            touched is not read again; if it cannot be read it is made anew, and files that are gone are dropped from
            it. None: everything is read.
    """
    known = _read(shortcuts)
    found: dict[str, list[object]] = {}
    for file in files:
        seen = file.stat()
        state: list[object] = [seen.st_size, seen.st_mtime_ns]
        kept = known.get(str(file))
        if kept and kept[:2] == state:
            found[str(file)] = kept
            continue
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        settled = time.time() - seen.st_mtime > SETTLED_SECONDS
        found[str(file)] = [*(state if settled else (None, None)), digest]
    there = {name: entry for name, entry in known.items() if name in found or Path(name).exists()}
    new = any(known.get(name) != entry for name, entry in found.items() if entry[0] is not None)
    if shortcuts and (new or len(there) < len(known)):
        # A service may not be allowed to write its home; then everything is read again.
        with suppress(StorageError), replaced(shortcuts) as temporary:
            temporary.write_text(json.dumps(there | found, indent=1))
    return [(file.name, str(found[str(file)][2])) for file in files]


def _read(shortcuts: Path | None) -> dict[str, list[object]]:
    try:
        known = json.loads(shortcuts.read_text()) if shortcuts else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
