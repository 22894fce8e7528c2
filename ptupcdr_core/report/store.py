"""Where a page is stored, and what it was made from; reading that draws nothing."""

import html
import json
import re
from pathlib import Path
from typing import Any

from ptupcdr_core.catalog import Pair
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced

OPTIONAL = ("benchmark", "warm_start_evaluation")
"""Tables that a page shows where they exist; it is out of date when one of them was written after it. The same holds
for the evaluations with which a pair of several sources is compared.
"""
_META = re.compile(r'<meta name="ptupcdr-(fingerprint|settings)" content="([^"]*)">')
_HEAD = 16_384
"""Characters at the start of a page that hold what it was made from."""


def report_path(home: Home, pair: str) -> Path:
    """The page of a pair."""
    return home.reports / f"{pair}.html"


def write_report(path: Path, page: str) -> Path:
    """Replace a page in one step, so that nobody reads half of one.

    Raises:
        StorageError: it cannot be written; the old page stays.
    """
    with replaced(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def read_provenance(home: Home, pair: str) -> dict[str, Any] | None:
    """Fingerprint and settings of a page; None where there is none, or where something optional is newer.

    Raises:
        WarehouseError: the page is damaged.
    """
    path = report_path(home, pair)
    if not path.is_file():
        return None
    try:
        made = path.stat().st_mtime_ns
        with path.open(encoding="utf-8") as page:
            found = {name: html.unescape(content) for name, content in _META.findall(page.read(_HEAD))}
        provenance = {"fingerprint": found["fingerprint"], "settings": json.loads(found["settings"])}
    except (OSError, ValueError, KeyError) as error:
        raise WarehouseError(f"{path} is damaged ({error!r}): materialize pair_report for {pair} again") from error
    tables = [home.warehouse / asset / f"{pair}.duckdb" for asset in OPTIONAL]
    tables += [home.warehouse / "cold_start_evaluation" / f"{one.key}.duckdb" for one in Pair.of(pair).alone]
    if any(table.stat().st_mtime_ns > made for table in tables if table.is_file()):
        return None
    return provenance
