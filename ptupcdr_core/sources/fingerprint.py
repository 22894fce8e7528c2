"""What a domain's ratings would be read from now, in one string: the content of its files, whatever their times say."""

import hashlib
import json
import time
from pathlib import Path

from ptupcdr_core.addresses import without_user
from ptupcdr_core.catalog import Domain
from ptupcdr_core.sources import demo
from ptupcdr_core.sources.databases import postgres_state, sqlite_files
from ptupcdr_core.sources.download import is_address
from ptupcdr_core.sources.locate import local_files
from ptupcdr_core.store.replacing import replaced

SETTLED_SECONDS = 2.0
"""A file that was changed this recently may change again without a difference in its time: it is read again."""


def source_fingerprint(domain: Domain, shortcuts: Path | None = None) -> str:
    """A hash that changes when the catalog's entry or the content or name of one of the files does.

    A table of PostgreSQL is asked for its rows. A download is fetched once and kept, so its address stands for it, and
    not who asks for it: a new password makes nothing stale.

    Args:
        domain: whose files.
        shortcuts: a file that keeps the hash of each file by its size and time of change, so that what was not touched
            is not read again; one that cannot be read is made anew. None: all is read.

    Raises:
        SourceError: there is no such file.
        StorageError: the shortcuts cannot be kept.
    """
    if domain.path is None:
        state: object = demo.VERSION
    elif domain.format == "postgres":
        state = postgres_state(domain)
    elif is_address(domain.path):
        state = without_user(domain.path)
    else:
        state = _digests(_files(domain), shortcuts)
    return hashlib.sha256(json.dumps([domain.entry(), state], sort_keys=True).encode()).hexdigest()


def _digests(files: list[Path], shortcuts: Path | None) -> list[tuple[str, str]]:
    """Name and SHA-256 of each file; a shortcut is taken where size and time are those that it was kept with."""
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
    if shortcuts and any(known.get(name) != entry for name, entry in found.items() if entry[0] is not None):
        with replaced(shortcuts) as temporary:
            temporary.write_text(json.dumps(known | found, indent=1))
    return [(file.name, str(found[str(file)][2])) for file in files]


def _read(shortcuts: Path | None) -> dict[str, list[object]]:
    try:
        known = json.loads(shortcuts.read_text()) if shortcuts else {}
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _files(domain: Domain) -> list[Path]:
    found = local_files(domain)
    return [file for path in found for file in sqlite_files(path)] if domain.format == "sqlite" else found
