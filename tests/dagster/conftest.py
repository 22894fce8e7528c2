"""A small catalog for all tests of the orchestration, whatever the environment names.

Partitions are read from the catalog when the definitions are imported, so that happens here, once.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from catalogs import small_catalog

from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home

FOLDER = tempfile.TemporaryDirectory(prefix="ptupcdr-tests-")
CATALOG_PATH = small_catalog(Path(FOLDER.name))

with mock.patch.dict(os.environ, {"PTUPCDR_CATALOG": str(CATALOG_PATH)}):
    os.environ.pop("PTUPCDR_EXECUTOR", None)
    import ptupcdr_dagster.definitions  # noqa: F401

SETTINGS = Settings(epochs=2, embedding_size=4)
PAIR = "books__movies"


@pytest.fixture(scope="session")
def catalog_path() -> Iterator[Path]:
    yield CATALOG_PATH
    FOLDER.cleanup()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person who runs the tests is read or written."""
    ours = ("PTUPCDR_EXECUTOR", "PTUPCDR_DEVICE", "PTUPCDR_THREADS", "PTUPCDR_MEMORY_LIMIT")
    for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", *ours):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PTUPCDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))


def tamper(file: Path, statements: str) -> None:
    """Break a table behind everybody's back."""
    with duckdb.connect(str(file)) as connection:
        connection.execute(statements)
