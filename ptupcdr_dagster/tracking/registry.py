"""MLflow's model registry: one registered model a pair, a version a training, the alias for the one in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.gate.decision import Models
from ptupcdr_core.serving.snapshot import Snapshot
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.tracking.runs import StageTracker, store_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
"""The alias of the version in use: ``models:/ptupcdr-books__movies@champion``."""
FINGERPRINT = "ptupcdr.fingerprint"
SERVED = Path(__file__).with_name("served_model.py")
NEEDED = ("mlflow", "numpy", "pandas", "safetensors")
"""What ``served_model`` imports."""
FOLDERS: dict[Mode, str] = {"rating": "snapshot", "ranking": "ranking_snapshot"}
"""Where a version keeps its snapshots; only those that rank have the second."""


@dataclass(frozen=True)
class Registry:
    """The registered model of a pair.

    Attributes:
        client: Of the store.
        home: Has the store's lock.
        pair: The pair's key.
    """

    client: "MlflowClient"
    home: Home
    pair: str

    @property
    def name(self) -> str:
        """What the registered model is called."""
        return f"ptupcdr-{self.pair}"

    def champion(self) -> str | None:
        """The version in use; None before the first promotion."""
        for model in self.client.search_registered_models(f"name = '{self.name}'"):
            number = model.aliases.get(CHAMPION)
            return None if number is None else str(number)
        return None

    def load(self, version: str) -> Models:
        """Read a version's snapshots; none of its code is run.

        Raises:
            ArtifactError: The files are not there, or damaged.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        source, store = self.client.get_model_version_download_uri(self.name, version), str(self.client.tracking_uri)
        with TemporaryDirectory(prefix="ptupcdr-") as folder:
            try:
                place = mlflow.artifacts.download_artifacts(f"{source}/artifacts", dst_path=folder, tracking_uri=store)
            except (MlflowException, OSError) as error:
                raise ArtifactError(f"{self.name} version {version}: {source} cannot be read ({error})") from error
            found = {mode: Path(place) / name for mode, name in FOLDERS.items()}
            return {mode: Snapshot.load(at) for mode, at in found.items() if mode == "rating" or at.exists()}

    def register(self, models: Models, fingerprint: str, tracker: StageTracker, tags: Mapping[str, str]) -> str:
        """The version of what has this fingerprint, registered now if it was not before.

        Args:
            models: The model, in each of its modes.
            fingerprint: What it was made from.
            tracker: The MLflow run that keeps its files.
            tags: Put on a new version.
        """
        with store_lock(self.home):
            if not self.client.search_registered_models(f"name = '{self.name}'"):
                description = f"Serves cold-start users of {self.pair}: predicted ratings and recommendations."
                self.client.create_registered_model(self.name, description=description)
            for known in self.client.search_model_versions(f"name = '{self.name}'"):
                if known.tags.get(FINGERPRINT) == fingerprint:
                    return str(known.version)
            source = f"{self._upload(models, tracker)}/model"
            made = self.client.create_model_version(
                self.name, source, tracker.run_id, tags={FINGERPRINT: fingerprint, **tags}
            )
            return str(made.version)

    def promote(self, version: str) -> None:
        """Put a version in use."""
        self.client.set_registered_model_alias(self.name, CHAMPION, version)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Put tags on a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)

    def _upload(self, models: Models, tracker: StageTracker) -> str:
        """Keep the model's files with the run; returns the place of the run's artifacts."""
        from mlflow.models import ModelSignature
        from mlflow.pyfunc import save_model
        from mlflow.types import ColSpec, Schema

        columns = [
            ColSpec("string", "user_id"),
            ColSpec("string", "item_id", required=False),
            ColSpec("long", "k", required=False),
        ]
        with TemporaryDirectory(prefix="ptupcdr-") as folder:
            files, model = {FOLDERS[mode]: Path(folder) / FOLDERS[mode] for mode in models}, Path(folder) / "model"
            for mode, snapshot in models.items():
                snapshot.save(files[FOLDERS[mode]])
            save_model(
                model,
                python_model=str(SERVED),
                artifacts={name: str(place) for name, place in files.items()},
                signature=ModelSignature(Schema(columns)),
                pip_requirements=[f"{package}=={installed(package)}" for package in NEEDED],
            )
            self.client.log_artifacts(tracker.run_id, str(model), "model")
        return str(self.client.get_run(tracker.run_id).info.artifact_uri)
