"""Ids and titles that are scripts, SQL, paths or control characters, from the files to the pages that show them.

In a real Chromium, no script from an id or title runs, and no page contacts a server other than its own.
``python tests/attack/hostile.py FOLDER``.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from ground import Ground
from local_servers import free_port, wait_for
from processes import PAIR, backfill

from ptupcdr_core.store.home import Home

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

SCRIPT = "window.attacked=1"
HOSTILE = (
    f"<script>{SCRIPT}</script>", f'<img src=x onerror="{SCRIPT}">', f"</title></style><svg onload={SCRIPT}>",
    f"javascript:{SCRIPT}", f"[a](javascript:{SCRIPT}) ![b](http://127.0.0.1:9/b.png)", "'; drop table raw_ratings; --",
    '"; attach "/etc/passwd"', "../../../../etc/passwd", "=cmd|' /C calc'!A1", "\x1b[2J\x07\x01", "two\r\nlines",
    "[red]{{7*7}}${7*7}%s%00", "\u202egnp.exe",
)  # fmt: skip
TITLES = "items = {{ path = \"{name}\", columns = {{ item = 'id', title = 'title', url = 'url', image = 'image' }} }}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def spoil(ground: Ground) -> None:
    """Give some people and items of all domains hostile ids, and the items hostile titles and addresses."""
    catalog = ground.catalog.read_text()
    for file in sorted(ground.catalog.parent.glob("*.csv")):
        domain = file.stem
        names = {f"user{100 + n}": name for n, name in enumerate(HOSTILE)}
        names |= {f"{domain}-{n:02d}": f"{domain} {name}" for n, name in enumerate(HOSTILE)}
        with file.open(newline="") as before:
            rows = [[names.get(cell, cell) for cell in row] for row in csv.reader(before)]
        _write(file, rows)
        items = sorted({row[1] for row in rows[1:]})
        described = [
            [item, HOSTILE[n % len(HOSTILE)] + item, HOSTILE[n % 7], HOSTILE[n % 5]] for n, item in enumerate(items)
        ]
        _write(file.with_suffix(".items.csv"), [["id", "title", "url", "image"], *described])
        entry = f"[domains.{domain}]\n"
        catalog = catalog.replace(entry, entry + TITLES.format(name=f"{domain}.items.csv") + "\n")
    ground.catalog.write_text(catalog)


def attack_report(home: Home) -> dict[str, object]:
    """Open the pair's report."""
    report = home.reports / f"{PAIR}.html"
    text = report.read_text(encoding="utf-8")
    assert SCRIPT in text, "no hostile name is on the page"
    return {"pages": _looked_at([report.as_uri()], home.root, says="attacked")}


def attack_docs(home: Home) -> dict[str, object]:
    """Open all Data Docs: those of the backfill, and one of a failed check, which shows the hostile names."""
    from ptupcdr_dagster.checks.data_docs import page_of
    from ptupcdr_dagster.checks.facts import Fact
    from ptupcdr_dagster.checks.validation import validate_table

    file = home.root.parent / "rows.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table rows as select unnest(?::varchar[]) as user_id", [HOSTILE])
    expectations = (
        ("ExpectColumnValuesToBeInSet", {"column": "user_id", "value_set": ["nobody", HOSTILE[0]]}),
        ("NoRows", {"unexpected_rows_query": "select * from rows"}),
    )
    list(validate_table(file, "rows", "rows", [Fact("none", "None.", expectations)], documented=(home, "hostile")))
    assert SCRIPT in page_of(home, "rows", "hostile").read_text(encoding="utf-8"), "no hostile name is on the page"
    return {"pages": _looked_at([page.as_uri() for page in sorted(home.data_docs.rglob("*.html"))], home.root)}


def attack_servers(home: Home) -> dict[str, object]:
    """Open the pages of the Dagster UI and the MLflow UI that show values of the tables."""
    dagster = [str(Path(sys.executable).with_name("dagster-webserver")), "-h", "127.0.0.1", "-w"]
    dagster += [str(Path(__file__).parents[2] / "workspace.yaml"), "-p"]
    mlflow = [str(Path(sys.executable).with_name("mlflow")), "server", "--workers=1", "--port"]
    store = f"--backend-store-uri=sqlite:///{home.mlflow / 'mlflow.db'}"
    seen = 0
    with _serving(dagster, home) as address:
        shown = [("raw_ratings", "books"), ("recommendations", PAIR), ("deployed_model", PAIR), ("pair_report", PAIR)]
        pages = [f"{address}/assets/{asset}?view=partitions&partition={part}" for asset, part in shown]
        seen += _looked_at([*pages, f"{address}/runs"], home.root, says="fingerprint")
    with _serving(mlflow, home, store) as address:
        pages = [f"{address}/#/experiments", f"{address}/#/models"]
        pages += [f"{address}/#/experiments/1/runs/{run}/artifacts" for run in _runs(home)]
        seen += _looked_at(pages, home.root)
    return {"pages": seen}


def may_browse() -> bool:
    """Whether a Chromium is installed."""
    return any(map(shutil.which, BROWSERS))


def _looked_at(addresses: list[str], profile: Path, says: str = "") -> int:
    """Open all pages in a browser; returns how many there are.

    Args:
        addresses: The pages.
        profile: A folder in which the browser's profile is made.
        says: A word that is on each page once it is complete.

    Raises:
        AssertionError: a script ran, or a page contacted another server or shows another file.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = next(filter(None, map(shutil.which, BROWSERS)))
        context = playwright.chromium.launch_persistent_context(
            profile / "browser", executable_path=browser, args=["--no-sandbox", "--disable-gpu"], headless=True
        )
        asked: list[str] = []
        dialogs: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        for address in addresses:
            page = context.new_page()
            page.on("dialog", partial(_dismiss, dialogs))
            page.goto(address)
            text = _settled(page, says)
            assert page.evaluate("window.attacked") is None, f"{address}: a script ran"
            assert dialogs == [], address
            assert "root:x:" not in text, f"{address}: the page shows another file"
            page.close()
        own = {address.split("/")[2] for address in addresses}
        others = {
            url for url in asked if url.split(":")[0] in ("http", "https", "file") and url.split("/")[2] not in own
        }
        assert not others, f"requests to other servers: {others}"
        context.close()
    shutil.rmtree(profile / "browser")
    return len(addresses)


def _dismiss(dialogs: list[str], dialog: "Dialog") -> None:
    dialogs.append(dialog.message)
    dialog.dismiss()


def _settled(page: "Page", says: str) -> str:
    """A page's text, once it has not changed for a while."""
    deadline, before = time.monotonic() + 30, ""
    while time.monotonic() < deadline:
        page.wait_for_timeout(1000)
        text = page.inner_text("body")
        if text == before and text and says in text:
            break
        before = text
    return before


def _runs(home: Home) -> list[str]:
    from ptupcdr_dagster.tracking.stores import open_own

    client, experiment = open_own(home)
    return [run.info.run_id for run in client.search_runs([experiment], max_results=5)]


@contextmanager
def _serving(command: list[str], home: Home, *more: str) -> Iterator[str]:
    port = free_port()
    with (home.root.parent / "server.log").open("w") as log:
        ours = {"PTUPCDR_HOME": str(home.root), "DAGSTER_HOME": str(home.dagster)}
        process = subprocess.Popen([*command, str(port), *more], env=os.environ | ours, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


def _write(file: Path, rows: list[list[str]]) -> None:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    if not may_browse():
        print("skipped: it needs a Chromium")
        return
    ground = Ground.prepare(asked.folder, [("books", "movies")], "both")
    spoil(ground)
    home = ground.home("hostile")
    ended = backfill(home, ground.settings(), [PAIR])
    assert ended.failures == [], ended.failures
    print(f"hostile: report {attack_report(home)}", flush=True)
    print(f"hostile: Data Docs {attack_docs(home)}", flush=True)
    print(f"hostile: servers {attack_servers(home)}", flush=True)


if __name__ == "__main__":
    main()
