"""Great Expectations Data Docs: one page for each asset partition, with its last validation, and an index of them.

Imports nothing of Great Expectations, so that links can be made without it.
"""

import html
import re
from datetime import UTC, datetime
from pathlib import Path

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced

_TITLE = re.compile(r"<!-- (\d+) of (\d+) facts, (\S+) -->")
_INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Data Docs</title>
<style>body{{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}}
</style><h1>Data Docs</h1><p>The last validation of every domain and pair.</p>
<table><tr><th>asset<th>partition<th>expectations met<th>when</tr>
{rows}
</table></html>
"""


def page_of(home: Home, asset: str, partition: str) -> Path:
    """Path of an asset partition's page."""
    return home.data_docs / asset / f"{partition}.html"


def write_page(home: Home, asset: str, partition: str, page: str, met: int, expectations: int) -> Path:
    """Replace an asset partition's page, and renew the index.

    Args:
        home: Where both are written.
        asset: Key of the asset.
        partition: The domain or pair.
        page: Its HTML; the index is one folder up.
        met: How many expectations are met.
        expectations: How many there are.
    """
    place, now = page_of(home, asset, partition), datetime.now(UTC).isoformat(timespec="seconds")
    with replaced(place) as temporary:
        temporary.write_text(f"<!-- {met} of {expectations} facts, {now} -->\n{page}", encoding="utf-8")
    with replaced(home.data_docs / "index.html") as temporary:
        temporary.write_text(_INDEX.format(rows="\n".join(_rows(home))), encoding="utf-8")
    return place


def _rows(home: Home) -> list[str]:
    rows = []
    for page in sorted(home.data_docs.glob("*/*.html")):
        asset, partition = page.parent.name, page.stem
        with page.open(encoding="utf-8") as opened:
            found = _TITLE.match(opened.readline())
        met, of, when = found.groups() if found else ("?", "?", "?")
        link = html.escape(str(page.relative_to(home.data_docs)))
        named = f'<td>{html.escape(asset)}<td><a href="{link}">{html.escape(partition)}</a>'
        rows.append(f"<tr>{named}<td>{met} of {of}<td>{when}</tr>")
    return rows
