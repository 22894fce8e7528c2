"""Where generated state lives, and which catalog is read: the two places a run depends on."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ptupcdr_core.errors import StorageError
from ptupcdr_core.store import formats
from ptupcdr_core.store.replacing import replaced

PACKAGE = Path(__file__).resolve().parents[1]


def default_root() -> Path:
    """The ``data`` folder of the checkout; from an installed wheel, of the working directory."""
    in_checkout = (PACKAGE.parent / "pyproject.toml").is_file()
    return (PACKAGE.parent if in_checkout else Path.cwd()) / "data"


def _chosen(environment: Mapping[str, str] | None, variable: str) -> Path | None:
    value = (os.environ if environment is None else environment).get(variable, "").strip()
    return Path(value).expanduser().absolute() if value else None


@dataclass(frozen=True)
class Home:
    """The folder of everything generated; deleting it loses nothing that a run cannot make again.

    Args:
        root: the folder.
    """

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Home":
        """The folder that ``PTUPCDR_HOME`` names, else the project's ``data``.

        Raises:
            StorageError: another version's folders are in it.
        """
        home = cls(_chosen(environment, "PTUPCDR_HOME") or default_root())
        home.require_format()
        return home

    @property
    def note(self) -> Path:
        """The file that notes the home's format; written by the first run."""
        return self.root / "home.json"

    def require_format(self) -> None:
        """Refuse a home of another format.

        Raises:
            StorageError: it is of another format, or its note cannot be read.
        """
        remedy = "set PTUPCDR_HOME to another folder, or use the version that made this one"
        try:
            found = json.loads(self.note.read_text(encoding="utf-8"))["format"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{self.note}: no readable note of the home's format ({error!r}); {remedy}") from error
        if refused := formats.refusal("a home", self.note, found, formats.HOME, remedy):
            raise StorageError(refused)

    def claim(self) -> None:
        """Note the home's format, before anything is written to it.

        Raises:
            StorageError: it is of another format, or cannot be written.
        """
        self.require_format()
        if not self.note.exists():
            with replaced(self.note) as temporary:
                temporary.write_text(json.dumps({"format": formats.HOME}) + "\n", encoding="utf-8")

    @property
    def warehouse(self) -> Path:
        """DuckDB files, one an (asset, partition), and the catalog of views."""
        return self.root / "warehouse"

    @property
    def models(self) -> Path:
        """Checkpoints: a JSON manifest and safetensors an (asset, partition)."""
        return self.root / "models"

    @property
    def bundles(self) -> Path:
        """What serves each pair: as it was trained, as it passed the gate, as it is deployed."""
        return self.root / "bundles"

    @property
    def benchmark(self) -> Path:
        """Finished cells of benchmarks, a folder a pair: a stopped benchmark continues from them."""
        return self.root / "benchmark"

    @property
    def tuning(self) -> Path:
        """Trials of searches for settings, and the best settings of each pair."""
        return self.root / "tuning"

    @property
    def reports(self) -> Path:
        """One HTML page a pair."""
        return self.root / "reports"

    @property
    def served_at(self) -> Path:
        """Addresses at which the UIs were served last."""
        return self.root / "served_at.json"

    @property
    def data_docs(self) -> Path:
        """Pages of the last validation of every asset partition, and an index."""
        return self.root / "data_docs"

    @property
    def mlflow(self) -> Path:
        """The MLflow store and its artifacts."""
        return self.root / "mlflow"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: runs and events."""
        return self.root / "dagster"

    @property
    def source_digests(self) -> Path:
        """Digests of the source files by size and time of change, so that they need not be read to be compared."""
        return self.root / "source_digests.json"

    @property
    def reads(self) -> Path:
        """Cached rows of each file of domains with several files, a folder a domain."""
        return self.root / "reads"

    @property
    def least_squares(self) -> Path:
        """Iterations of unfinished trainings on Spark, a folder a pair: a stopped training continues."""
        return self.root / "least_squares"

    @property
    def downloads(self) -> Path:
        """Files fetched once from http(s) addresses."""
        return self.root / "downloads"


def catalog_path_from_environment(environment: Mapping[str, str] | None = None) -> Path:
    """The file that ``PTUPCDR_CATALOG`` names, else ``data/domains.toml``, else the demo catalog of the package."""
    chosen = _chosen(environment, "PTUPCDR_CATALOG")
    default = default_root() / "domains.toml"
    shipped = PACKAGE / "demo_domains.toml"
    return chosen or (default if default.is_file() or not shipped.is_file() else shipped)
