"""Send what was kept in the home while the MLflow server failed, each run and model version once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from ptupcdr_core.addresses import scrubbed, shown
from ptupcdr_core.errors import TrackingError, first_line
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.tracking.registry import BUNDLE
from ptupcdr_dagster.tracking.runs import INSTEAD_OF
from ptupcdr_dagster.tracking.stores import (
    EXPERIMENT,
    UNSENT,
    failures,
    kept_mark,
    open_own,
    open_store,
    own_store,
    server,
    unanswered,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")
KEPT_AS = "ptupcdr.kept_as"
"""The tag of a run on the server with its id in the home, by which an interrupted sending resumes."""
LEVELS = ("pipeline", "search", "stage", "part")
"""Runs are sent in this order: parents first."""
MOST = 50_000
"""The most runs that MLflow returns at once."""
BATCH = 100
"""The most tags or parameters that MLflow takes at once; of metrics it takes a thousand."""


def send_kept(home: Home) -> int:
    """Send what is kept, and return how many runs that were; runs that are still being written stay kept.

    Raises:
        TrackingError: there is no server, or it refuses something; what was not sent stays kept.
    """
    address = server()
    if address is None:
        raise TrackingError("MLFLOW_TRACKING_URI names no server (http://…), so there is nowhere to send to")
    if not kept_mark(home).exists():
        return 0
    reason = unanswered(address)
    if reason is None:
        # Removed first: a process that keeps something from now on leaves a new mark.
        kept_mark(home).unlink(missing_ok=True)
        sending = _Sending(open_own(home)[0], *open_store(home))
        try:
            if sending.theirs.tracking_uri != own_store(home):
                sent, waiting = sending.all()
                if waiting:
                    kept_mark(home).touch()
                return sent
            reason = "it refuses what is sent"
        except failures() as error:
            reason = scrubbed(first_line(error), address)
        kept_mark(home).touch()
    raise TrackingError(f"{shown(address)}: {reason}; what is kept in {home.mlflow} can be sent once it answers again")


@dataclass
class _Sending:
    """Sends from the home's store to the server.

    Attributes:
        ours: Client of the home's store.
        theirs: Client of the server.
        experiment: The server's experiment.
        ids: Ids of the server's runs, by ids of the home's.
    """

    ours: "MlflowClient"
    theirs: "MlflowClient"
    experiment: str
    ids: dict[str, str] = field(default_factory=dict)

    def all(self) -> tuple[int, int]:
        """Send all finished runs; return how many were sent, and how many are still being written."""
        own = self.ours.get_experiment_by_name(EXPERIMENT)
        assert own is not None
        found = self.ours.search_runs([own.experiment_id], f"tags.`{UNSENT}` = 'yes'", max_results=MOST)
        runs = [run for run in found if run.info.status != "RUNNING"]
        for run in sorted(runs, key=lambda run: (LEVELS.index(run.data.tags["ptupcdr.level"]), run.info.start_time)):
            self._send(run)
        for model in self.ours.search_registered_models():
            versions = self.ours.search_model_versions(f"name = '{model.name}'")
            kept = [version for version in versions if version.tags.get(UNSENT) and version.run_id in self.ids]
            for version in sorted(kept, key=lambda version: int(version.version)):
                self._register(version, [alias for alias, of in model.aliases.items() if str(of) == version.version])
        for run in runs:
            self.ours.delete_tag(run.info.run_id, UNSENT)
            self.ours.delete_run(run.info.run_id)
        return len(runs), len(found) - len(runs)

    def _send(self, run: "Run") -> None:
        from mlflow.entities import RunTag

        tags = {name: value for name, value in run.data.tags.items() if name not in (UNSENT, INSTEAD_OF)}
        parent = tags.get("mlflow.parentRunId")
        if parent is not None:
            tags["mlflow.parentRunId"] = self.ids.get(parent, parent)
        tags[KEPT_AS] = run.info.run_id
        run_id = self._known(run) or str(
            self.theirs.create_run(self.experiment, run.info.start_time, tags, tags.get("mlflow.runName")).info.run_id
        )
        self.ids[run.info.run_id] = run_id
        for part in _batches([RunTag(name, value) for name, value in tags.items()], BATCH):
            self.theirs.log_batch(run_id, tags=part)
        self._send_content(run, run_id)
        self.theirs.set_terminated(run_id, run.info.status, run.info.end_time)

    def _send_content(self, run: "Run", run_id: str) -> None:
        from mlflow.entities import Param

        for params in _batches([Param(name, value) for name, value in run.data.params.items()], BATCH):
            self.theirs.log_batch(run_id, params=params)
        for name in run.data.metrics:
            for metrics in _batches(self.ours.get_metric_history(run.info.run_id, name), 1000):
                self.theirs.log_batch(run_id, metrics=metrics)
        if run.inputs is not None and run.inputs.dataset_inputs:
            self.theirs.log_inputs(run_id, run.inputs.dataset_inputs)
        folder = Path(unquote(urlsplit(run.info.artifact_uri).path))
        if folder.is_dir():
            self.theirs.log_artifacts(run_id, str(folder))

    def _known(self, run: "Run") -> str | None:
        """The run that the server already has of this one: begun before it failed, or made by an earlier sending."""
        tags = run.data.tags
        if INSTEAD_OF in tags:
            return tags[INSTEAD_OF]
        conditions = [f"tags.`{KEPT_AS}` = '{run.info.run_id}'"]
        if tags["ptupcdr.level"] == "pipeline":
            same = ("ptupcdr.level", "dagster.run_id", "dagster.partition")
            conditions.append(" and ".join(f"tags.`{name}` = '{tags[name]}'" for name in same))
        if tags["ptupcdr.level"] == "search":
            conditions.append(f"tags.`ptupcdr.study` = '{tags['ptupcdr.study']}'")
        for condition in conditions:
            for found in self.theirs.search_runs([self.experiment], condition, max_results=1):
                return str(found.info.run_id)
        return None

    def _register(self, version: "ModelVersion", aliases: list[str]) -> None:
        name, tags = version.name, {key: value for key, value in version.tags.items() if key != UNSENT}
        if not self.theirs.search_registered_models(f"name = '{name}'"):
            self.theirs.create_registered_model(name)
        known = [
            found.version
            for found in self.theirs.search_model_versions(f"name = '{name}'")
            if found.tags.get(BUNDLE) == tags[BUNDLE]
        ]
        run_id, folder = self.ids[str(version.run_id)], str(version.source).rsplit("/", 1)[-1]
        source = f"{self.theirs.get_run(run_id).info.artifact_uri}/{folder}"
        number = known[0] if known else self.theirs.create_model_version(name, source, run_id, tags=tags).version
        for alias in aliases:
            self.theirs.set_registered_model_alias(name, alias, str(number))
        self.ours.delete_model_version(name, version.version)


def _batches(entries: Iterable[T], size: int) -> list[list[T]]:
    rest = list(entries)
    return [rest[start : start + size] for start in range(0, len(rest), size)]
