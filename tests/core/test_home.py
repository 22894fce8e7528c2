"""Where generated state and the catalog lie, and how the environment changes that."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ptupcdr_core.store.home import Home, catalog_path_from_environment, default_root

CHECKOUT = Path(__file__).parents[2]


def test_everything_generated_lies_under_the_home(tmp_path: Path) -> None:
    home = Home.from_environment({"PTUPCDR_HOME": str(tmp_path)})
    places = [home.warehouse, home.models, home.mlflow, home.dagster, home.downloads]
    assert {place.parent for place in places} == {tmp_path}
    assert len(set(places)) == len(places)


def test_a_checkout_keeps_its_state_and_its_catalog_in_data() -> None:
    assert Home.from_environment({}).root == default_root() == CHECKOUT / "data"
    assert catalog_path_from_environment({}) == CHECKOUT / "data" / "domains.toml"


def test_paths_from_the_environment_become_absolute_and_know_the_home_directory() -> None:
    assert Home.from_environment({"PTUPCDR_HOME": "here"}).root == Path.cwd() / "here"
    assert Home.from_environment({"PTUPCDR_HOME": "~/here"}).root == Path.home() / "here"
    assert catalog_path_from_environment({"PTUPCDR_CATALOG": "mine.toml"}) == Path.cwd() / "mine.toml"
    assert Home.from_environment({"PTUPCDR_HOME": " "}).root == CHECKOUT / "data", "empty means unset"


def test_installed_outside_a_checkout_the_demo_catalog_of_the_package_is_found(tmp_path: Path) -> None:
    """As from a wheel: the package without its repository, and a working directory without a catalog."""
    package = tmp_path / "site" / "ptupcdr_core"
    shutil.copytree(CHECKOUT / "ptupcdr_core", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "demo_domains.toml").write_text("")
    work = tmp_path / "work"
    work.mkdir()
    code = (
        "from ptupcdr_core.store.home import *; "
        "print(catalog_path_from_environment({}), Home.from_environment({}).root)"
    )
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == [str(package / "demo_domains.toml"), str(work / "data")]
