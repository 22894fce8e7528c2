"""Forgetting people in the files of runs and models that a server, or an object store, keeps outside of the home."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ptupcdr_core.addresses import scrubbed, shown
from ptupcdr_core.errors import TrackingError, first_line
from ptupcdr_core.serving.forgetting import forget_in
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import scratch_folder
from ptupcdr_dagster.tracking.stores import failures, open_store, own_store, server, tracking_uri, unanswered

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAMING = (".parquet", ".safetensors", ".html", "input_example.json")
"""How the names of files end that may hold ids of people."""
GONE = "<!doctype html><title>Removed</title><p>This page named people who are forgotten.</p>\n"
"""What takes the place of a page: MLflow has no way to remove one file of a run."""
MOST = 50_000
"""The most runs that MLflow returns at once."""


def forget_elsewhere(home: Home, ids: Sequence[str]) -> dict[str, int]:
    """Remove people from the files of all runs in the user's MLflow store, if that is not the home's own.

    Files of model versions are files of the runs that made them.

    Args:
        home: has the store that is used where the user names no other; ``ptupcdr_core`` looks after its files.
        ids: (N,) all ids of these people.

    Returns:
        How often they were found, by file.

    Raises:
        TrackingError: the store fails; what was done until then is kept, and the command can be repeated.
    """
    from mlflow.entities import ViewType

    address, found = tracking_uri(home), dict[str, int]()
    if address == own_store(home):
        return found
    try:
        reason = unanswered(address) if server() else None
        if reason is None:
            client, experiment = open_store(home)
            for run in client.search_runs([experiment], run_view_type=ViewType.ALL, max_results=MOST):
                found.update(_forgotten_in(client, run.info.run_id, ids))
            return found
    except failures() as error:
        reason = scrubbed(first_line(error), address)
    raise TrackingError(f"{shown(address)}: {reason}; files there may still name these people: run the command again")


def _forgotten_in(client: "MlflowClient", run_id: str, ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Download the files of a run that may name people, and upload those anew that did."""
    for path in _files(client, run_id):
        with scratch_folder() as folder:
            place = Path(client.download_artifacts(run_id, path, str(folder)))
            for _, amount in forget_in(folder, ids):
                if not place.exists():
                    place.write_text(GONE)
                client.log_artifact(run_id, str(place), path.rpartition("/")[0] or None)
                yield f"MLflow run {run_id}: {path}", amount


def _files(client: "MlflowClient", run_id: str, folder: str | None = None) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _files(client, run_id, entry.path)
        elif entry.path.endswith(NAMING):
            yield entry.path
