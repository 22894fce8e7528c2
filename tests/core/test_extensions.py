"""A method and a source format from outside: the example package is installed, found, and used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ptupcdr_core
from ptupcdr_core.errors import CatalogError
from ptupcdr_core.store.catalog_file import load_catalog

EXAMPLE = Path(__file__).parents[2] / "examples" / "extension"
CATALOG = """
[domains.{name}]
format = "movielens"
path = "{name}.dat"
scale = [1, 5]
columns = {{ timestamp = "timestamp" }}
"""
PROGRAM = """
import json
import sys
from pathlib import Path
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.experiments.benchmark import run_benchmark
from ptupcdr_core.experiments.grid import Grid
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

home, catalog = Home(Path(sys.argv[1])), load_catalog(Path(sys.argv[2]))
for domain in catalog.domains:
    report = ingest_domain(domain, Warehouse(home.warehouse))
    print(domain.name, report.rows_read, report.kept, report.rejected)
[pair] = catalog.pairs
grid = Grid(betas=(0.5,), seeds=(1,), methods=("global_mean", "user_mean"), modes=("rating",), recipes=("calibrated",))
sides = (catalog.domain(pair.source), catalog.domain(pair.target))
rows = run_benchmark(home, pair, *sides, grid, Settings(), lambda progress: None, workers=1)
print(json.dumps(rows.set_index("method")["mae"].to_dict()))
"""


def test_the_example_package_adds_its_method_and_its_format(tmp_path: Path) -> None:
    """People who rate everything with one number are predicted without an error by the method that was added."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*install, tmp_path / "site", EXAMPLE], check=True)
    for name in ("books", "films"):
        lines = [f"u{user}::{name}{item}::{1 + user % 5}::9" for user in range(60) for item in range(4)]
        (tmp_path / f"{name}.dat").write_text("\n".join([*lines, f"u0::{name}9::many::9"]))
    pairs = '[[pairs]]\nsource = "books"\ntarget = "films"\n'
    catalog = tmp_path / "domains.toml"
    catalog.write_text("".join(CATALOG.format(name=name) for name in ("books", "films")) + pairs)
    code = f"import sys; sys.path[:0] = {[str(tmp_path / 'site')]!r}\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "home", catalog], check=True, capture_output=True, text=True
    )
    books, films, errors = done.stdout.splitlines()
    assert books == "books 241 240 {'rating_not_a_number': 1}"
    assert films == "films 241 240 {'rating_not_a_number': 1}"
    assert json.loads(errors)["user_mean"] == 0 < json.loads(errors)["global_mean"]


def test_a_format_that_nobody_adds_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "domains.toml"
    path.write_text(CATALOG.format(name="books") + CATALOG.format(name="films"))
    with pytest.raises(CatalogError, match=r"domains\.books\.format: .*expected one of demo, csv, .*got 'movielens'"):
        load_catalog(path)


def test_the_public_names_are_there() -> None:
    for name in ptupcdr_core.__all__:
        assert getattr(ptupcdr_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'recommmend'"):
        _ = ptupcdr_core.recommmend
