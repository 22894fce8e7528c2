"""Secrets in an address appear in nothing that a run or a command stores or prints."""

import sys
from pathlib import Path

from catalogs import domain_entry, small_catalog
from conftest import copied
from programs import QUICK, Project

from ptupcdr_core.store.home import Home

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from file_server import serving
from ratings_files import holding

PASSWORD, TOKEN = "tulip-mania-1637", "tok-9c2f71"


def test_a_run_and_a_failed_one_and_doctor_keep_no_secret_of_an_address(tmp_path: Path, empty_store: Path) -> None:
    """Only books are read: without movies nothing is made of the pair."""
    catalog = small_catalog(tmp_path / "catalog", [("books", "movies")])
    ratings = catalog.with_name("books.csv").read_bytes()
    catalog.with_name("movies.csv").unlink()
    project = Project(catalog, copied(empty_store, Home(tmp_path / "home")))
    said = []

    def run(*command: str) -> str:
        done = project.run(*command, SHOP_TOKEN=TOKEN, MLFLOW_TRACKING_URI="")
        said.append(done.stdout + done.stderr)
        return said[-1]

    with serving() as server:
        server.files["books.csv"], server.password, server.token = ratings, f"reader:{PASSWORD}", TOKEN
        address = server.address("books.csv?token=${SHOP_TOKEN}", user=f"reader:{PASSWORD}@")
        entry = domain_entry("books").replace('"books.csv"', f'"{address}"')
        catalog.write_text(catalog.read_text().replace(domain_entry("books"), entry))
        assert "made       books: raw_ratings" in run("backfill", *QUICK)
        assert "***@127.0.0.1" in run("doctor")
        server.password = "somebody:else"
        for copy in (project.home.root / "downloads").iterdir():
            copy.unlink()
        catalog.write_text(catalog.read_text().replace("scale = [1, 5]", "scale = [0, 5]", 1))
        assert "401" in run("backfill", *QUICK)
    assert holding(project.home.root, PASSWORD, TOKEN) == []
    assert not any(word in text for text in said for word in (PASSWORD, TOKEN))
