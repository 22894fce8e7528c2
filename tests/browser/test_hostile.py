"""Ids that are code stay text, from Great Expectations' findings to the page in a real browser."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import duckdb
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
HOSTILE = (
    "<img src=x onerror=\"document.title='taken'\">",
    "<script>document.title='taken'</script>",
    "[link](javascript:document.title='taken')",
    "'; drop table raw_ratings; --",
    "../../etc/passwd",
    "\x1b[31mred\x07",
    "${jndi:ldap://127.0.0.1}",
)


def test_ids_that_are_code_stay_text_on_the_page_of_a_check(ui: str, ui_home: Path, browser_page: "Page") -> None:
    found = _findings(ui_home.parent / "hostile.duckdb")
    told = f"{found.description} {found.metadata['expectations'].value}"
    assert HOSTILE[0] in told, "Great Expectations tells what it found"
    with dg.DagsterInstance.from_config(str(ui_home / "dagster")) as instance:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey("raw_ratings"),
                check_name="one_rating_per_user_and_item",
                passed=False,
                metadata=found.metadata,
                description=found.description,
                severity=dg.AssetCheckSeverity.ERROR,
            )
        )
    dialogs: list[str] = []
    browser_page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    browser_page.goto(f"{ui}/assets/raw_ratings?view=checks&checkDetail=one_rating_per_user_and_item")
    browser_page.get_by_text("onerror").first.wait_for()
    assert browser_page.title() != "taken"
    assert browser_page.locator("img[src=x]").count() == 0
    assert browser_page.locator("a[href^='javascript:']").count() == 0
    assert dialogs == []


def _findings(file: Path) -> dg.AssetCheckResult:
    """Every hostile id stands twice in a table, which a check finds and tells."""
    from ptupcdr_dagster.checks.ratings import FACTS
    from ptupcdr_dagster.checks.validation import validate_table

    with duckdb.connect(str(file)) as connection:
        connection.execute("create table raw_ratings (user_id varchar, item_id varchar, rating double)")
        connection.executemany("insert into raw_ratings values (?, ?, 3)", [(text, text) for text in HOSTILE * 2])
    facts = [fact for fact in FACTS if fact.name == "one_rating_per_user_and_item"]
    [result] = validate_table(file, "raw_ratings", "raw_ratings", facts)
    assert not result.passed
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.execute("select count(*) from raw_ratings").fetchall() == [(2 * len(HOSTILE),)]
    return result
