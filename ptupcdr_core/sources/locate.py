"""From a domain's ``path`` to the files on this machine."""

import glob
from pathlib import Path

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.download import fetch, is_address


def locate(domain: Domain, downloads: Path) -> list[Path]:
    """The domain's files: one, or those a glob matches in the order of their names; none for generated ratings and
    those of a server.

    Args:
        domain: whose ``path`` is a file, a glob or an http(s) address.
        downloads: the folder that keeps what was fetched.

    Raises:
        SourceError: there is no such file, or it cannot be fetched.
    """
    if domain.path is None or domain.format == "postgres":
        return []
    if is_address(domain.path):
        return [fetch(domain.path, downloads)]
    return local_files(domain)


def local_files(domain: Domain) -> list[Path]:
    """The files that a path or glob names, relative to the catalog's folder.

    Raises:
        SourceError: there is none.
    """
    pattern = domain.folder / Path(domain.path or "").expanduser()
    # A file whose own name has brackets in it is that file, not a pattern.
    names = [str(pattern)] if pattern.is_file() else sorted(glob.glob(str(pattern), recursive=True))
    files = [Path(name) for name in names if Path(name).is_file()]
    if not files:
        raise SourceError(f"domain {domain.name}: no file {pattern}; check domains.{domain.name}.path in the catalog")
    return files
