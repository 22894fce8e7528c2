"""Secrets in an address appear in nothing that a run or a command stores or prints."""

import os
import subprocess
import sys
from pathlib import Path

from catalogs import domain_entry, small_catalog

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from file_server import serving
from ratings_files import holding

ROOT = Path(__file__).parents[2]
PASSWORD, TOKEN = "tulip-mania-1637", "tok-9c2f71"
INGEST = """
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.jobs import INGEST_DOMAIN
from ptupcdr_dagster.running.backfill import Backfill
from ptupcdr_dagster.running.instance import open_instance

home = Home.from_environment()
with open_instance(home) as instance:
    [(_, report)] = Backfill(instance, home, Settings()).run([], {(INGEST_DOMAIN, "books"): ["raw_ratings"]})
print(report)
"""


def test_a_run_and_a_failed_one_and_doctor_keep_no_secret_of_an_address(tmp_path: Path) -> None:
    catalog = small_catalog(tmp_path / "catalog", [("books", "movies")])
    ratings = (tmp_path / "catalog" / "books.csv").read_bytes()
    home = tmp_path / "home"
    home.mkdir()
    secret = {"SHOP_TOKEN": TOKEN, "MLFLOW_TRACKING_URI": "", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | secret
    environment |= {"PTUPCDR_CATALOG": str(catalog), "PTUPCDR_HOME": str(home), "PYTHONPATH": str(ROOT)}
    said = []

    def run(*command: str) -> str:
        made = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
        said.append(made.stdout + made.stderr)
        return said[-1]

    with serving() as server:
        server.files["books.csv"], server.password, server.token = ratings, f"reader:{PASSWORD}", TOKEN
        address = server.address("books.csv?token=${SHOP_TOKEN}", user=f"reader:{PASSWORD}@")
        entry = domain_entry("books").replace('"books.csv"', f'"{address}"')
        catalog.write_text(catalog.read_text().replace(domain_entry("books"), entry))
        assert "made={'books': ['raw_ratings']}" in run("-c", INGEST)
        assert "***@127.0.0.1" in run("-m", "ptupcdr_dagster", "doctor")
        server.password = "somebody:else"
        for copy in (home / "downloads").iterdir():
            copy.unlink()
        catalog.write_text(catalog.read_text().replace("scale = [1, 5]", "scale = [0, 5]", 1))
        assert "401" in run("-c", INGEST)
    assert holding(home, PASSWORD, TOKEN) == []
    assert not any(word in text for text in said for word in (PASSWORD, TOKEN))
