"""A small catalog for all tests of the orchestration, whatever catalog the environment names.

Partitions are read from the catalog when the definitions are imported, so that is done here, once.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import duckdb
import pytest
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "core"))  # the servers of its tests

from catalogs import small_catalog

from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home

FOLDER = tempfile.TemporaryDirectory(prefix="ptupcdr-tests-")
CATALOG_PATH = small_catalog(Path(FOLDER.name))

with mock.patch.dict(os.environ, {"PTUPCDR_CATALOG": str(CATALOG_PATH)}):
    os.environ.pop("PTUPCDR_EXECUTOR", None)
    import ptupcdr_dagster.definitions  # noqa: F401
    from ptupcdr_dagster.tracking.stores import open_own

SETTINGS = Settings(epochs=2, embedding_size=4)
PAIR = "books__movies"


@pytest.fixture(scope="session")
def catalog_path() -> Iterator[Path]:
    yield CATALOG_PATH
    FOLDER.cleanup()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new, empty MLflow store, made once for all workers, since its hundred tables take seconds.

    Copied by tests that need a store and do not test how it is made.
    """
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place = Home(root / "empty-store")
    made = place.mlflow / "mlflow.db"
    with FileLock(root / "empty-store.lock"):
        if not made.exists():
            open_own(place)
    return made


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user who runs the tests is read or written."""
    ours = ("PTUPCDR_EXECUTOR", "PTUPCDR_DEVICE", "PTUPCDR_THREADS", "PTUPCDR_MEMORY_LIMIT")
    for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", *ours):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PTUPCDR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))


def tamper(file: Path, statements: str) -> None:
    """Change a stored table directly, without any record of it."""
    with duckdb.connect(str(file)) as connection:
        connection.execute(statements)


def copied(store: Path, home: Home) -> Home:
    """The home, with a copy of an MLflow store."""
    home.mlflow.mkdir(parents=True)
    shutil.copyfile(store, home.mlflow / store.name)
    return home
