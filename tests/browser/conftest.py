"""A headless Chromium, and a Dagster UI over a small project with one domain's ratings."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1] / "dagster"))

from catalogs import small_catalog
from local_servers import free_port, wait_for

ROOT = Path(__file__).parents[2]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
MATERIALIZE = """
from ptupcdr_core.store.home import Home
from ptupcdr_core.settings import Settings
from ptupcdr_dagster.running.backfill import Backfill
from ptupcdr_dagster.running.instance import open_instance
from ptupcdr_dagster.jobs import INGEST_DOMAIN

home = Home.from_environment()
with open_instance(home) as instance:
    [(_, report)] = Backfill(instance, home, Settings()).run([], {(INGEST_DOMAIN, "books"): ["raw_ratings"]})
assert not report.failures, report.failures
"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(
            "no Chromium is installed (Debian: apt-get install chromium), so the pages of the UI are not tested"
        )
    return found


@pytest.fixture(scope="session")
def ui(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the Dagster UI."""
    root = tmp_path_factory.mktemp("browser")
    catalog = small_catalog(root / "catalog", [("books", "movies")])
    home = root / "home"
    ours = {"PTUPCDR_CATALOG": str(catalog), "PTUPCDR_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment = (
        os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": ""} | ours | paths
    )
    made = subprocess.run(
        [sys.executable, "-c", MATERIALIZE], env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    port = free_port()
    server = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    server += ["-w", str(ROOT / "workspace.yaml")]
    with (root / "server.log").open("w") as log:
        process = subprocess.Popen(server, env=environment, cwd=ROOT, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/server_info", process, root / "server.log")
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture(scope="session")
def browser_page(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Page"]:
    """A browser tab, large enough for the whole lineage."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A new profile, so that nothing of the user who runs the tests is read.
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            headless=True,
            args=QUIET,
            viewport={"width": 2500, "height": 2000},
        )
        # Drawn vertically, the whole lineage fits on the screen; the UI does not draw what is outside of it.
        context.add_init_script("localStorage.setItem('asset-graph-direction', JSON.stringify('vertical'))")
        context.set_default_timeout(60_000)
        yield context.new_page()
        context.close()
