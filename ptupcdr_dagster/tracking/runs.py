"""MLflow: one parent run a (Dagster run, partition), one child run a stage, tagged so that each leads to the other.

Only the client is used, never MLflow's fluent module state: stages of several runs can live in one process.
Imports of mlflow take seconds, so they stand inside the functions.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from filelock import FileLock

from ptupcdr_core.addresses import without_user
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.tracking.moved import adopt

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

EXPERIMENT = "ptupcdr"
FLUSH_SECONDS = 2.0


def own_store(home: Home) -> str:
    """The SQLite store that is used when the user names no other."""
    return f"sqlite:///{home.mlflow / 'mlflow.db'}"


def tracking_uri(home: Home) -> str:
    """The user's MLFLOW_TRACKING_URI, else the project's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_store(home)


def mlflow_ui() -> str:
    """Where the MLflow UI is served: the tracking server itself, else where ``ptupcdr up`` puts it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return (
        without_user(uri) if uri.startswith("http") else os.environ.get("PTUPCDR_MLFLOW_UI", "http://127.0.0.1:5000")
    ).rstrip("/")


def dagster_ui() -> str:
    """Where the Dagster UI is served."""
    return os.environ.get("PTUPCDR_DAGSTER_UI", "http://127.0.0.1:3000").rstrip("/")


@dataclass
class StageTracker:
    """One stage's MLflow run, open while the stage works."""

    client: "MlflowClient"
    experiment_id: str
    run_id: str
    _pending: list["Metric"] = field(default_factory=list)
    _flushed: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        """The run's page in the MLflow UI."""
        return f"{mlflow_ui()}/#/experiments/{self.experiment_id}/runs/{self.run_id}"

    def on_epoch(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note an epoch's metrics; they are written in batches, every two seconds at most."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(name, float(value), now, step) for name, value in metrics.items()]
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Note a stage's final numbers."""
        self.on_epoch(0, metrics)

    def flush(self) -> None:
        """Write what is pending; MLflow takes a thousand metrics at once."""
        while self._pending:
            self.client.log_batch(self.run_id, metrics=self._pending[:1000])
            self._pending = self._pending[1000:]
        self._flushed = time.monotonic()

    def log_dataset(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Name the data that the stage read: the split's vocabulary as digest, its row counts as profile."""
        import json

        from mlflow.entities import Dataset, DatasetInput

        dataset = Dataset(
            name=name,
            digest=digest[:36],  # MLflow's limit
            source_type="local",
            source=json.dumps({"uri": name}),
            profile=json.dumps(dict(profile)),
        )
        self.client.log_inputs(self.run_id, [DatasetInput(dataset=dataset, tags=[])])

    def log_child(self, name: str, params: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Keep a finished part of the stage as a run of its own below it."""
        from mlflow.entities import Metric, Param

        tags = {"ptupcdr.level": "part", "mlflow.runName": name, "mlflow.parentRunId": self.run_id}
        run_id = self.client.create_run(self.experiment_id, tags=tags).info.run_id
        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        self.client.set_terminated(run_id)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Put tags on the run."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_files(self, files: list[Path]) -> None:
        """Keep a copy of checkpoint files with the run, since the next training replaces them."""
        for file in files:
            self.client.log_artifact(self.run_id, str(file), artifact_path="checkpoint")


@contextmanager
def track_stage(context: dg.AssetExecutionContext, settings: Settings, home: Home) -> Iterator[StageTracker]:
    """Open the MLflow run of one stage; it ends FINISHED, or FAILED when the block raises."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.entities import Param, RunTag

    client, experiment_id = open_store(home)
    parent = _parent_run(client, experiment_id, home, context)
    asset = context.asset_key.to_user_string()
    tags = _tags(context, "stage") | {
        "mlflow.runName": f"{asset} {context.partition_key}",
        "mlflow.parentRunId": parent,
        "dagster.asset": asset,
        "dagster.asset_url": f"{dagster_ui()}/assets/{asset}?partition={context.partition_key}",
        "dagster.retry_number": str(context.retry_number),
    }
    run_id = client.create_run(experiment_id, tags=tags).info.run_id
    tracker = StageTracker(client, experiment_id, run_id)
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in settings.model_dump().items()])
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except Exception as error:
        client.log_batch(run_id, tags=[RunTag("error", f"{type(error).__name__}: {error}"[:5000])])
        raise
    finally:
        tracker.flush()
        client.set_terminated(run_id, status)


def open_store(home: Home) -> tuple["MlflowClient", str]:
    """The store and its experiment, made by one process at a time: two at once break a new SQLite store for good."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    home.mlflow.mkdir(parents=True, exist_ok=True)
    with store_lock(home):
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            adopt(home, EXPERIMENT)
        client = MlflowClient(tracking_uri=tracking_uri(home))
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return client, str(experiment.experiment_id)
        own_store = not os.environ.get("MLFLOW_TRACKING_URI")
        artifacts = (home.mlflow / "artifacts").as_uri() if own_store else None
        try:
            return client, str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
        except MlflowException:
            # A shared tracking server: a process of another home was faster.
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise
            return client, str(experiment.experiment_id)


def _parent_run(client: "MlflowClient", experiment_id: str, home: Home, context: dg.AssetExecutionContext) -> str:
    """The run that holds together all stages of one (Dagster run, partition)."""
    condition = (
        f"tags.`dagster.run_id` = '{context.run.run_id}' and tags.`dagster.partition` = '{context.partition_key}' "
        "and tags.`ptupcdr.level` = 'pipeline'"
    )
    with store_lock(home):
        found = client.search_runs([experiment_id], condition, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = _tags(context, "pipeline") | {"mlflow.runName": f"{context.partition_key} {context.run.run_id[:8]}"}
        run_id = str(client.create_run(experiment_id, tags=tags).info.run_id)
        # Nobody knows which stage is the last; a closed parent stays writable, an open one would run for ever.
        client.set_terminated(run_id)
        return run_id


def _tags(context: dg.AssetExecutionContext, level: str) -> dict[str, str]:
    return {
        "ptupcdr.level": level,
        "dagster.run_id": context.run.run_id,
        "dagster.run_url": f"{dagster_ui()}/runs/{context.run.run_id}",
        "dagster.partition": context.partition_key,
    }


def store_lock(home: Home) -> FileLock:
    """Held while something is looked for in the store and made where it is not there yet."""
    return FileLock(home.mlflow / "mlflow.lock")
