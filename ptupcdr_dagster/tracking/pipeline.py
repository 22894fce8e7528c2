"""The parent run of a pipeline's stages, by which backfills are compared in MLflow's list of runs."""

import time
from collections.abc import Callable, Mapping

from ptupcdr_core.settings import Settings
from ptupcdr_dagster.tracking.runs import INSTEAD_OF, StageTracker

KIND, MODEL_TRAINING = "mlflow.experimentKind", "custom_model_development"
"""The tag that says in which view the MLflow UI opens an experiment, and its value."""
NOTE = "mlflow.note.content"
"""The tag with a run's description."""


def describe_pipeline(tracker: StageTracker, settings: Settings, note: str) -> None:
    """Give the pipeline's run its parameters and its description, unless an earlier stage has.

    Args:
        tracker: A stage's tracker.
        settings: The run's settings.
        note: The description, as Markdown.
    """
    from mlflow.entities import Param, RunTag

    params = [Param(name, str(value)) for name, value in settings.model_dump().items()]

    def describe(run: StageTracker, pipeline: str) -> None:
        if NOTE not in run.client.get_run(pipeline).data.tags:
            run.client.log_batch(pipeline, params=params, tags=[RunTag(NOTE, note)])
            run.client.set_experiment_tag(run.experiment_id, KIND, MODEL_TRAINING)

    _above(tracker, describe)


def end_stage(tracker: StageTracker) -> None:
    """Set the end of the pipeline's run to the end of this stage, since it is not known which stage is the last."""
    now = int(time.time() * 1000)
    _above(tracker, lambda run, pipeline: run.client.set_terminated(pipeline, end_time=now))


def log_main(tracker: StageTracker, metrics: Mapping[str, float]) -> None:
    """Log a stage's main numbers to the pipeline's run too."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    numbers = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
    _above(tracker, lambda run, pipeline: run.client.log_batch(pipeline, metrics=numbers))


def log_chosen(tracker: StageTracker, chosen: Mapping[str, float]) -> None:
    """Log hyper-parameters that the training chose itself as parameters, not as metrics, which would be plotted."""
    if chosen:
        tracker.log_params({f"chosen.{name}": f"{value:.6g}" for name, value in chosen.items()})


def _above(tracker: StageTracker, action: Callable[[StageTracker, str], object]) -> None:
    """Do something to the pipeline's run; a stage's run that was moved from a failed server has none."""
    tracker.do(lambda run: None if INSTEAD_OF in run.tags else action(run, run.tags["mlflow.parentRunId"]))
