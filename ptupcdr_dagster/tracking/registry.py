"""MLflow's model registry: one registered model per pair, one version per bundle, aliases for those in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.store.home import PACKAGE, Home
from ptupcdr_core.store.leftovers import scratch_folder
from ptupcdr_dagster.tracking.runs import StageTracker
from ptupcdr_dagster.tracking.stores import UNSENT, is_kept, store_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, DEPLOYED = "champion", "deployed"
"""Aliases: the version that passed the gate last, and the one that recommends (perhaps fitted again on everybody)."""
BUNDLE = "ptupcdr.bundle"
"""The tag with the digest of a version's bundle."""
SERVED = Path(__file__).with_name("served_model.py")
NEEDED = ("mlflow", "numpy", "pandas", "safetensors", "pyarrow", "duckdb", "numba", "torch", "scipy", "pydantic",
          "filelock", "psutil", "threadpoolctl")  # fmt: skip
"""What the served model imports; ``ptupcdr_core`` itself is copied into every version."""

DESCRIPTION = """Recommends target items of {pair} to people who have source items and no target item.

{numbers}

The gate: {reason}.

Ask it with a user_id, or with a history: `{{"dataframe_records": [{{"user_id": "me", "history": \
[{{{example}}}]}}], "params": {{"k": 10}}}}`. Each person gets their own answer: items with scores \
and reasons, a status, and what made the list."""


@dataclass(frozen=True)
class Registry:
    """The registered model of a pair.

    Args:
        client: MLflow's client of the store.
        home: Has the store's lock.
        pair: The pair's key.
    """

    client: "MlflowClient"
    home: Home
    pair: str

    @property
    def name(self) -> str:
        """The registered model's name."""
        return f"ptupcdr-{self.pair}"

    def version_of(self, alias: str) -> str | None:
        """The version with this alias; None where there is none."""
        for model in self.client.search_registered_models(f"name = '{self.name}'"):
            number = model.aliases.get(alias)
            return None if number is None else str(number)
        return None

    def register(self, bundle: Bundle, people: pa.Table, tracker: StageTracker, tags: Mapping[str, str]) -> str:
        """The version of this bundle, registered now unless it already was.

        Args:
            bundle: The bundle to register.
            people: Source ratings of the people whom the version can serve by their id alone.
            tracker: The MLflow run that keeps its files.
            tags: Tags of a new version.
        """
        digest = bundle.digest
        with store_lock(self.home):
            if not self.client.search_registered_models(f"name = '{self.name}'"):
                description = f"Serves cold-start users of {self.pair}."
                self.client.create_registered_model(self.name, description=description)
            for known in self.client.search_model_versions(f"name = '{self.name}'"):
                if known.tags.get(BUNDLE) == digest:
                    return str(known.version)
            source = self._upload(bundle, people, tracker, digest)
            kinds = {mode: "refitted" if own.origin.refitted else "evaluated" for mode, own in bundle.modes.items()}
            own = {BUNDLE: digest, **{f"ptupcdr.{mode}": kind for mode, kind in kinds.items()}, **tags}
            if is_kept(self.home, self.client):
                own[UNSENT] = "yes"
            made = self.client.create_model_version(self.name, source, tracker.run_id, tags=own)
            return str(made.version)

    def promote(self, version: str, alias: str = CHAMPION) -> None:
        """Give a version an alias."""
        self.client.set_registered_model_alias(self.name, alias, version)

    def describe(self, version: str, measured: Mapping[str, float], reason: str, *, rated: bool) -> None:
        """Write a version's description: what it is, what was measured, what the gate said, and how to ask it.

        Args:
            version: The model's version.
            measured: Numbers by name.
            reason: The gate's reason.
            rated: Whether histories have ratings; otherwise they are events without stars.
        """
        numbers = ["| measured on held-out users | |", "| --- | --- |"]
        numbers += [f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in measured.items()]
        example = '"item_id": "…", "rating": 5' if rated else '"item_id": "…"'
        text = DESCRIPTION.format(pair=self.pair, numbers="\n".join(numbers), reason=reason, example=example)
        self.client.update_model_version(self.name, version, text)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Put tags on a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)

    def _upload(self, bundle: Bundle, people: pa.Table, tracker: StageTracker, digest: str) -> str:
        """Store the model's files with the run; return their address."""
        from mlflow.pyfunc import save_model

        from ptupcdr_dagster.tracking.signature import input_example, signature

        folder_name = f"model-{digest[:12]}"
        with scratch_folder() as folder:
            files = {"bundle": folder / "bundle.safetensors", "people": folder / "people.parquet"}
            model = folder / "model"
            bundle.save(files["bundle"])
            pq.write_table(people, files["people"])
            save_model(
                model,
                python_model=str(SERVED),
                artifacts={name: str(place) for name, place in files.items()},
                code_paths=[str(PACKAGE)],
                signature=signature(rated=bundle.rated, predicted="rating" in bundle.modes),
                input_example=input_example(people),
                pip_requirements=[f"{package}=={installed(package)}" for package in NEEDED],
            )
            self.client.log_artifacts(tracker.run_id, str(model), folder_name)
        return f"{self.client.get_run(tracker.run_id).info.artifact_uri}/{folder_name}"
