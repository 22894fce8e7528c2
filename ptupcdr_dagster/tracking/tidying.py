"""End MLflow runs whose process is gone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.owner import Owner
from ptupcdr_dagster.tracking.runs import OWNER
from ptupcdr_dagster.tracking.stores import failures, open_own, open_store, own_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MOST = 50_000
"""The most runs that MLflow returns at once."""


def end_dead(home: Home, dagster_runs: set[str], why: str) -> int:
    """Mark runs FAILED whose process is gone, or that belong to one of these Dagster runs; return how many.

    A server that does not answer is left for the next time.
    """
    ended = 0
    for client, experiment in _stores(home):
        try:
            for run in client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=MOST):
                if _is_dead(run, dagster_runs):
                    client.set_tag(run.info.run_id, "error", why)
                    client.set_terminated(run.info.run_id, "FAILED")
                    ended += 1
        except failures():
            if client.tracking_uri == own_store(home):
                raise
    return ended


def _stores(home: Home) -> "Iterator[tuple[MlflowClient, str]]":
    used = open_store(home)
    yield used
    if used[0].tracking_uri != own_store(home) and (home.mlflow / "mlflow.db").exists():
        yield open_own(home)


def _is_dead(run: "Run", dagster_runs: set[str]) -> bool:
    owner = Owner.named_in(run.data.tags.get(OWNER, ""))
    return owner.gone if owner is not None else run.data.tags.get("dagster.run_id") in dagster_runs
