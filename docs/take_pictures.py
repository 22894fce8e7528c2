"""Take a screenshot of every page of the project in a Chromium, as PNG: ``make pictures``.

Needs a home with a finished backfill, such as that of ``make demo``. The pictures of this documentation are compressed
copies of some of them, in ``docs/pictures``.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import TimeoutError as Missing

from ptupcdr_core import Home
from ptupcdr_core.report.store import report_path
from ptupcdr_dagster.tracking.stores import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DAGSTER, MLFLOW, SERVICE = 3210, 5210, 8210
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
GROUPS = ("ratings", "splits", "models", "cold_start", "warm_start", "report", "benchmark")
PATIENCE, SETTLED = 90_000, 5_000
"""Milliseconds that a page is waited for, and that it is given to draw itself when its text is there."""
KEPT = ("report-1280", "report-1280-dark", "report-400", "dagster-lineage", "dagster-checks", "openapi",
        "dagster-asset", "mlflow-compare", "mlflow-model", "data-docs")  # fmt: skip
COLOURS = 128
"""Colours of a kept picture: text and lines need no more, and the file is a third of the size."""


WITHOUT_ASSISTANT = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.workflowType_v1', '"machine_learning"');
"""
"""Shows MLflow's pages with the chat panel closed and the view for model training chosen."""
TALL = ("mlflow-model", "dagster-asset")
"""Pages that are taken in a taller window."""


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--pair", default="books__movies")
    parser.add_argument("--keep", action="store_true", help="compress the best into docs/pictures")
    options = parser.parse_args()
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        sys.exit("no Chromium is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the services are stopped then too
    home = Home.from_environment()
    options.folder.mkdir(parents=True, exist_ok=True)
    with _running("up", "--port", str(DAGSTER), "--mlflow-port", str(MLFLOW), wait=(DAGSTER, MLFLOW)), _running(
        "serve", options.pair, "--port", str(SERVICE), wait=(SERVICE,)
    ), sync_playwright() as playwright:  # fmt: skip
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        _report(browser, home, options.pair, options.folder)
        site = _site(options.folder)
        for name, (address, shown) in (_pages(home, options.pair) | site).items():
            page = browser.new_page(viewport={"width": 1440, "height": 1150 if name in TALL else 900})
            page.add_init_script(WITHOUT_ASSISTANT)
            _open(page, address, shown)
            if name == "openapi":
                page.get_by_text("/recommend").first.click()
                page.wait_for_timeout(SETTLED)
            page.screenshot(path=options.folder / f"{name}.png")
            page.close()
        _dialog(browser, options.folder)
    if options.keep:
        keep(options.folder)


def keep(folder: Path) -> None:
    """Put compressed copies of the chosen pictures where the documentation shows them."""
    kept = Path(__file__).with_name("pictures")
    for taken in (folder / f"{name}.png" for name in KEPT):
        if taken.is_file():
            with Image.open(taken) as picture:
                few = picture.convert("RGB").quantize(COLOURS)
                few.save(kept / taken.name, optimize=True)


def _pages(home: Home, pair: str) -> dict[str, tuple[str, str]]:
    """Addresses by name of the picture, each with a text that appears once the page is drawn. Two trainings are
    compared if there are two: after another ``ptupcdr backfill`` with other settings."""
    client, experiment = open_store(home)
    dagster, mlflow = f"http://127.0.0.1:{DAGSTER}", f"http://127.0.0.1:{MLFLOW}/#"
    expanded = "%2C".join(f"global%40global%3A{group}" for group in GROUPS)
    asset = f"{dagster}/assets/cold_start_evaluation"
    version = client.get_model_version_by_alias(f"ptupcdr-{pair}", "deployed").version
    model = f"{mlflow}/models/ptupcdr-{pair}/versions/{version}"
    parents = client.search_runs([experiment], "tags.`ptupcdr.level` = 'pipeline'", max_results=20)
    runs = [run.info.run_id for run in parents if run.data.tags.get("dagster.partition") == pair] or [
        run.info.run_id for run in parents
    ]
    compared = f"runs={json.dumps(runs[:2])}&experiments={json.dumps([experiment])}".replace('"', "%22")
    two = {"mlflow-compare": (f"{mlflow}/compare-runs?{compared}", "Parameters")} if len(runs) > 1 else {}
    checked = home.data_docs / "domain_splits" / f"{pair}.html"
    return {
        "data-docs": ((home.data_docs / "index.html").as_uri(), "domain_splits"),
        "data-docs-pair": (checked.as_uri(), "Expectation"),
        "openapi": (f"http://127.0.0.1:{SERVICE}/docs", "/recommend"),
        "dagster-lineage": (f"{dagster}/asset-groups/?expanded={expanded}", "domain_splits"),
        "dagster-asset": (f"{asset}?view=partitions&partition={pair}", "ndcg_at_10"),
        "dagster-checks": (f"{asset}?view=checks", "Succeeded"),
        "dagster-runs": (f"{dagster}/runs", "bridge_pair"),
        "mlflow-model": (model, "Registered"),
        "mlflow-runs": (f"{mlflow}/experiments/{experiment}/runs", "Created"),
    } | two


def _site(folder: Path) -> dict[str, tuple[str, str]]:
    """Build the documentation beside the pictures; return its first page and the tutorial's."""
    built = folder.absolute() / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(built)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
    return {
        "docs": ((built / "index.html").as_uri(), "ptupcdr"),
        "docs-tutorial": ((built / "tutorial.html").as_uri(), "Tutorial"),
    }


def _report(browser: "Browser", home: Home, pair: str, folder: Path) -> None:
    for width in (1280, 400):
        for scheme, ending in (("light", ""), ("dark", "-dark")):
            page = browser.new_page(viewport={"width": width, "height": 1100}, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(report_path(home, pair).as_uri())
            page.screenshot(path=folder / f"report-{width}{ending}.png")
            page.screenshot(path=folder / f"report-{width}{ending}-whole.png", full_page=True)
            page.close()


def _dialog(browser: "Browser", folder: Path) -> None:
    """Take the dialog in which partitions are chosen for a backfill."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    _open(page, f"http://127.0.0.1:{DAGSTER}/assets/recommendations?view=partitions", "Materialize")
    page.get_by_role("button", name="Materialize").first.click()
    page.wait_for_timeout(SETTLED)
    page.screenshot(path=folder / "dagster-backfill.png")
    page.close()


def _open(page: "Page", address: str, shown: str) -> None:
    page.goto(address, wait_until="domcontentloaded", timeout=PATIENCE)
    try:
        page.get_by_text(shown).first.wait_for(timeout=PATIENCE)
    except Missing:
        print(f"{address}: {shown!r} did not come", file=sys.stderr)
    page.wait_for_timeout(SETTLED)


@contextmanager
def _running(*arguments: str, wait: tuple[int, ...]) -> Iterator[None]:
    """Run one of the project's services until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ptupcdr_dagster", *arguments], env=os.environ | {"BROWSER": "true"}
    )
    try:
        for port in wait:
            _answers(process, port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _answers(process: "subprocess.Popen[bytes]", port: int) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
                return
        except OSError:
            time.sleep(0.5)
    sys.exit(f"the service on port {port} did not start")


if __name__ == "__main__":
    main()
