"""What people see in the Dagster UI, in a real browser."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
LINEAGE = json.loads((Path(__file__).parents[1] / "dagster" / "lineage.json").read_text())
GROUPS = sorted({asset["group"] for asset in LINEAGE.values()})


def test_the_lineage_shows_every_asset(ui: str, browser_page: "Page") -> None:
    expanded = "%2C".join(f"global%40global%3A{group}" for group in GROUPS)
    browser_page.goto(f"{ui}/asset-groups/?expanded={expanded}")
    browser_page.get_by_text("raw_ratings").first.wait_for()
    words = browser_page.inner_text("body").split()
    assert [asset for asset in LINEAGE if not any(_stands_for(word, asset) for word in words)] == []


def test_an_assets_page_shows_what_was_made(ui: str, browser_page: "Page") -> None:
    browser_page.goto(f"{ui}/assets/raw_ratings?view=partitions&partition=books")
    browser_page.get_by_text("rows_read").first.wait_for()
    words = browser_page.inner_text("body").split()
    assert {"Materialized", "kept", "rejected", "fingerprint"} <= set(words)
    assert words[words.index("rows_read") + 1] in ("2100", "2,100"), "150 users with 14 ratings each"


def test_an_assets_page_shows_its_checks(ui: str, browser_page: "Page") -> None:
    browser_page.goto(f"{ui}/assets/raw_ratings?view=checks")
    browser_page.get_by_text("Succeeded").first.wait_for()
    page = browser_page.inner_text("body")
    assert f"Checks ({len(LINEAGE['raw_ratings']['checks'])})" in page
    assert page.split().count("Succeeded") == len(LINEAGE["raw_ratings"]["checks"])


def _stands_for(word: str, name: str) -> bool:
    """Whether the UI shows this name by this word: it cuts out the middle of long names."""
    start, cut, end = word.partition("…")
    return word == name or (bool(cut) and name.startswith(start) and name.endswith(end))
