"""MLflow runs: a parent for each (Dagster run, partition), a child for each stage, tagged with their Dagster run.

Only the client is used, never MLflow's global state: stages of several runs can live in one process. Importing mlflow
takes seconds, so imports are inside the functions.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from ptupcdr_core.errors import first_line
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.owner import Owner
from ptupcdr_dagster.tracking.addresses import dagster_ui, mlflow_ui
from ptupcdr_dagster.tracking.stores import UNSENT, failures, in_store, is_kept, note_kept, open_own, server, store_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

FLUSH_SECONDS = 2.0
OWNER = "ptupcdr.process"
"""The tag with the process that writes a run while it is RUNNING."""
INSTEAD_OF = "ptupcdr.instead_of"
"""A kept copy's tag: the id of the run on the server, which failed while that run was being written."""
T = TypeVar("T")


@dataclass
class StageTracker:
    """One stage's MLflow run, open while the stage works.

    Attributes:
        home: Has the store that is used if a server fails.
        client: MLflow's client of the store in use.
        experiment_id: The experiment in that store.
        run_id: The run in that store.
        tags: Tags that the run was made with.
    """

    home: Home
    client: "MlflowClient"
    experiment_id: str
    run_id: str
    tags: Mapping[str, str]
    _done: list[Callable[["StageTracker"], object]] = field(default_factory=list)
    _pending: list["Metric"] = field(default_factory=list)
    _flushed: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, home: Home, tags: Callable[["MlflowClient", str], dict[str, str]]) -> "StageTracker":
        """Make a run, and a tracker that writes to it.

        Args:
            home: Has its own store.
            tags: Returns the run's tags, from the client and the experiment's id.
        """

        def make(client: "MlflowClient", experiment_id: str) -> "StageTracker":
            found = tags(client, experiment_id)
            return cls(home, client, experiment_id, made_run(home, client, experiment_id, found), found)

        return in_store(home, make)

    @property
    def url(self) -> str:
        """The run's page in the MLflow UI."""
        return f"{mlflow_ui(self.home)}/#/experiments/{self.experiment_id}/runs/{self.run_id}"

    def do(self, action: Callable[["StageTracker"], T]) -> T:
        """Do something to the run. If its server fails, everything so far is done again in the home's own store.

        Args:
            action: May be called a second time, with client and run of the home's store.
        """
        if is_kept(self.home, self.client) or server() is None:
            return action(self)
        try:
            made = action(self)
        except failures() as error:
            self._move_home(error)
            return action(self)
        self._done.append(action)
        return made

    def _move_home(self, error: Exception) -> None:
        note_kept(self.home, first_line(error))
        self.tags = {**self.tags, INSTEAD_OF: self.run_id}
        self.client, self.experiment_id = open_own(self.home)
        self.run_id = made_run(self.home, self.client, self.experiment_id, self.tags)
        for action in self._done:
            action(self)

    def on_epoch(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log an epoch's metrics; they are written in batches, at most every two seconds."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(name, float(value), now, step) for name, value in metrics.items()]
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log a stage's final numbers."""
        self.on_epoch(0, metrics)

    def flush(self) -> None:
        """Write what is pending; MLflow takes a thousand metrics at once."""
        while self._pending:
            batch, self._pending = self._pending[:1000], self._pending[1000:]
            self.do(lambda run, batch=batch: run.client.log_batch(run.run_id, metrics=batch))  # type: ignore[misc]
        self._flushed = time.monotonic()

    def log_dataset(self, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Log the data that the stage read: its digest, and its row counts as profile."""
        import json

        from mlflow.entities import Dataset, DatasetInput

        dataset = Dataset(
            name=name,
            digest=digest[:36],  # MLflow's limit
            source_type="local",
            source=json.dumps({"uri": name}),
            profile=json.dumps(dict(profile)),
        )
        inputs = [DatasetInput(dataset=dataset, tags=[])]
        self.do(lambda run: run.client.log_inputs(run.run_id, inputs))

    def log_child(self, name: str, params: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Log a finished part of the stage as a child run."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        numbers = [Metric(key, value, now, 0) for key, value in metrics.items()]
        texts = [Param(key, str(value)) for key, value in params.items()]

        def make(run: "StageTracker") -> None:
            tags = {"ptupcdr.level": "part", "mlflow.runName": name, "mlflow.parentRunId": run.run_id}
            run_id = made_run(run.home, run.client, run.experiment_id, tags)
            run.client.log_batch(run_id, metrics=numbers, params=texts)
            run.client.set_terminated(run_id)

        self.do(make)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Put tags on the run."""
        from mlflow.entities import RunTag

        entries = [RunTag(key, value) for key, value in tags.items()]
        self.do(lambda run: run.client.log_batch(run.run_id, tags=entries))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters of the run."""
        from mlflow.entities import Param

        entries = [Param(name, str(value)) for name, value in params.items()]
        self.do(lambda run: run.client.log_batch(run.run_id, params=entries))

    def log_files(self, files: list[Path], folder: str | None = "checkpoint") -> None:
        """Store a copy of files, such as checkpoints, with the run, since the next training replaces them."""
        for file in files:
            self.do(lambda run, file=file: run.client.log_artifact(run.run_id, str(file), folder))  # type: ignore[misc]

    def end(self, status: str) -> None:
        """Write what is pending, and close the run."""
        self.flush()
        self.do(lambda run: run.client.set_terminated(run.run_id, status))


@contextmanager
def track_stage(context: dg.AssetExecutionContext, settings: Settings, home: Home) -> Iterator[StageTracker]:
    """Open the MLflow run of one stage; it ends FINISHED, or FAILED if the block raises."""
    asset = context.asset_key.to_user_string()

    def tags(client: "MlflowClient", experiment_id: str) -> dict[str, str]:
        return _tags(context, home, "stage") | {
            "mlflow.runName": f"{asset} {context.partition_key}",
            "mlflow.parentRunId": _parent_run(client, experiment_id, home, context),
            "dagster.asset": asset,
            "dagster.asset_url": f"{dagster_ui(home)}/assets/{asset}?partition={context.partition_key}",
            "dagster.retry_number": str(context.retry_number),
        }

    tracker = StageTracker.begin(home, tags)
    tracker.log_params(settings.model_dump())
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except Exception as error:
        tracker.tag({"error": f"{type(error).__name__}: {error}"[:5000]})
        raise
    finally:
        tracker.end(status)


def made_run(home: Home, client: "MlflowClient", experiment_id: str, tags: Mapping[str, str]) -> str:
    """Make a run owned by this process; one that is kept for a server is tagged so."""
    kept = {UNSENT: "yes"} if is_kept(home, client) else {}
    owned = {OWNER: str(Owner.present())}
    return str(client.create_run(experiment_id, tags={**tags, **owned, **kept}).info.run_id)


def _parent_run(client: "MlflowClient", experiment_id: str, home: Home, context: dg.AssetExecutionContext) -> str:
    """The parent run of all stages of one (Dagster run, partition)."""
    condition = (
        f"tags.`dagster.run_id` = '{context.run.run_id}' and tags.`dagster.partition` = '{context.partition_key}' "
        "and tags.`ptupcdr.level` = 'pipeline'"
    )
    with store_lock(home):
        found = client.search_runs([experiment_id], condition, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = _tags(context, home, "pipeline") | {
            "mlflow.runName": f"{context.partition_key} {context.run.run_id[:8]}"
        }
        run_id = made_run(home, client, experiment_id, tags)
        # Closed at once: which stage is the last is not known, an open run would run for ever, and a closed one stays
        # writable.
        client.set_terminated(run_id)
        return run_id


def _tags(context: dg.AssetExecutionContext, home: Home, level: str) -> dict[str, str]:
    return {
        "ptupcdr.level": level,
        "dagster.run_id": context.run.run_id,
        "dagster.run_url": f"{dagster_ui(home)}/runs/{context.run.run_id}",
        "dagster.partition": context.partition_key,
    }
