"""One string for what a domain's ratings would be read from now: the content of its files, whatever their times."""

import hashlib
import json
from pathlib import Path

from ptupcdr_core.addresses import without_user
from ptupcdr_core.catalog import Domain
from ptupcdr_core.sources import demo
from ptupcdr_core.sources.buckets import is_bucket
from ptupcdr_core.sources.databases import postgres_state, sqlite_files
from ptupcdr_core.sources.digests import file_digests
from ptupcdr_core.sources.download import is_address
from ptupcdr_core.sources.locate import bucket_objects, local_files


def source_fingerprint(domain: Domain, shortcuts: Path | None = None) -> str:
    """A hash that changes when the catalog's entry or the content or name of one of the files does.

    A table of PostgreSQL is asked for its rows, and a bucket for names, sizes and times of its objects. A download is
    fetched once and kept, so its address, without user and password, stands for it: a new password makes nothing out of
    date.

    Args:
        domain: the domain.
        shortcuts: a file that keeps digests, so that what was not touched is not read again (see ``file_digests``).

    Raises:
        SourceError: there is no such file.
    """
    if domain.path is None:
        state: object = demo.VERSION
    elif domain.format == "postgres":
        state = postgres_state(domain)
    elif is_address(domain.path):
        state = without_user(domain.path)
    elif is_bucket(domain.path):
        state = [[each.key, each.size, each.modified] for each in bucket_objects(domain)]
    else:
        state = file_digests(_files(domain), shortcuts)
    made_from: list[object] = [domain.entry(), state]
    if domain.people is not None:
        made_from.append(file_digests([domain.folder / Path(domain.people.path).expanduser()], shortcuts))
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _files(domain: Domain) -> list[Path]:
    found = local_files(domain)
    return [file for path in found for file in sqlite_files(path)] if domain.format == "sqlite" else found
