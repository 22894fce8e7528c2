"""The run above a pipeline's stages: what two backfills are compared by in MLflow's list."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ptupcdr_core.settings import Settings

if TYPE_CHECKING:
    from ptupcdr_dagster.tracking.runs import StageTracker

KIND, MODEL_TRAINING = "mlflow.experimentKind", "custom_model_development"
"""The tag that says which view an experiment opens in."""
NOTE = "mlflow.note.content"
"""The tag with a run's description."""


def describe_pipeline(tracker: "StageTracker", settings: Settings, note: str) -> None:
    """Give the pipeline's run its parameters and its description, unless a stage before has.

    Args:
        tracker: Of a stage.
        settings: Of the run.
        note: What it is, as Markdown.
    """
    from mlflow.entities import Param, RunTag

    parent = tracker.client.get_run(_parent(tracker))
    if NOTE in parent.data.tags:
        return
    params = [Param(name, str(value)) for name, value in settings.model_dump().items()]
    tracker.client.log_batch(parent.info.run_id, params=params, tags=[RunTag(NOTE, note)])
    tracker.client.set_experiment_tag(tracker.experiment_id, KIND, MODEL_TRAINING)


def end_stage(tracker: "StageTracker") -> None:
    """Let the pipeline's run end when this stage does: nobody knows which is the last."""
    tracker.client.set_terminated(_parent(tracker), end_time=int(time.time() * 1000))


def log_main(tracker: "StageTracker", metrics: Mapping[str, float]) -> None:
    """Note a stage's main numbers with the pipeline too."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    numbers = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
    tracker.client.log_batch(_parent(tracker), metrics=numbers)


def log_chosen(tracker: "StageTracker", chosen: Mapping[str, float]) -> None:
    """Note hyper-parameters that the training chose itself as what they are, not as metrics to be drawn."""
    from mlflow.entities import Param

    params = [Param(f"chosen.{name}", f"{value:.6g}") for name, value in chosen.items()]
    tracker.client.log_batch(tracker.run_id, params=params)


def _parent(tracker: "StageTracker") -> str:
    return str(tracker.client.get_run(tracker.run_id).data.tags["mlflow.parentRunId"])
