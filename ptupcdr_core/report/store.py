"""Where a page stands, and what it was made from: read without drawing anything."""

import html
import json
import re
from pathlib import Path
from typing import Any

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced

OPTIONAL = ("benchmark", "warm_start_evaluation")
"""Tables that a page shows where they are; it is out of date when one of them was written after it."""
_META = re.compile(r'<meta name="ptupcdr-(fingerprint|settings)" content="([^"]*)">')
_HEAD = 16_384
"""Characters at the start of a page that hold what it was made from."""


def report_path(home: Home, pair: str) -> Path:
    """The page of a pair."""
    return home.reports / f"{pair}.html"


def write_report(path: Path, page: str) -> Path:
    """Put a page in place at once, so that nobody reads half of one.

    Raises:
        StorageError: it cannot be written; the old page stands.
    """
    with replaced(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def read_provenance(home: Home, pair: str) -> dict[str, Any] | None:
    """Fingerprint and settings of a page; None where there is none, or where something optional is newer."""
    path = report_path(home, pair)
    try:
        made = path.stat().st_mtime_ns
        with path.open(encoding="utf-8") as page:
            head = page.read(_HEAD)
    except (OSError, UnicodeDecodeError):
        return None
    tables = [home.warehouse / asset / f"{pair}.duckdb" for asset in OPTIONAL]
    if any(table.stat().st_mtime_ns > made for table in tables if table.is_file()):
        return None
    found = {name: html.unescape(content) for name, content in _META.findall(head)}
    if found.keys() != {"fingerprint", "settings"}:
        return None
    return {"fingerprint": found["fingerprint"], "settings": json.loads(found["settings"])}
