"""The run above a pipeline's stages: what two backfills are compared by in MLflow's list."""

import time
from collections.abc import Callable, Mapping

from ptupcdr_core.settings import Settings
from ptupcdr_dagster.tracking.runs import INSTEAD_OF, StageTracker

KIND, MODEL_TRAINING = "mlflow.experimentKind", "custom_model_development"
"""The tag that says which view an experiment opens in."""
NOTE = "mlflow.note.content"
"""The tag with a run's description."""


def describe_pipeline(tracker: StageTracker, settings: Settings, note: str) -> None:
    """Give the pipeline's run its parameters and its description, unless a stage before has.

    Args:
        tracker: Of a stage.
        settings: Of the run.
        note: What it is, as Markdown.
    """
    from mlflow.entities import Param, RunTag

    params = [Param(name, str(value)) for name, value in settings.model_dump().items()]

    def describe(run: StageTracker, pipeline: str) -> None:
        if NOTE not in run.client.get_run(pipeline).data.tags:
            run.client.log_batch(pipeline, params=params, tags=[RunTag(NOTE, note)])
            run.client.set_experiment_tag(run.experiment_id, KIND, MODEL_TRAINING)

    _above(tracker, describe)


def end_stage(tracker: StageTracker) -> None:
    """Let the pipeline's run end when this stage does: nobody knows which is the last."""
    now = int(time.time() * 1000)
    _above(tracker, lambda run, pipeline: run.client.set_terminated(pipeline, end_time=now))


def log_main(tracker: StageTracker, metrics: Mapping[str, float]) -> None:
    """Note a stage's main numbers with the pipeline too."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    numbers = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
    _above(tracker, lambda run, pipeline: run.client.log_batch(pipeline, metrics=numbers))


def log_chosen(tracker: StageTracker, chosen: Mapping[str, float]) -> None:
    """Note hyper-parameters that the training chose itself as what they are, not as metrics to be drawn."""
    if chosen:
        tracker.log_params({f"chosen.{name}": f"{value:.6g}" for name, value in chosen.items()})


def _above(tracker: StageTracker, action: Callable[[StageTracker, str], object]) -> None:
    """Do something to the pipeline's run; beside a stage's that was moved away from a failed server there is none."""
    tracker.do(lambda run: None if INSTEAD_OF in run.tags else action(run, run.tags["mlflow.parentRunId"]))
