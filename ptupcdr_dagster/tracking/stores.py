"""Where MLflow keeps things: a store in the home, or the user's server, in whose place the home's steps in.

A server that is down costs seconds, not the night: whatever was meant for it is kept in the home's own store, marked as
unsent, and sent later (``tracking/sending.py``).
"""

import logging
import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from ptupcdr_core.addresses import scrubbed
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced, writing
from ptupcdr_dagster.tracking.moved import adopt

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "ptupcdr"
UNSENT = "ptupcdr.unsent"
"""The tag of runs and model versions that are kept for a server."""
ANSWER_SECONDS = 5.0
"""So long a server may take to say that it is there."""
QUICKLY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # As MLflow has it, a server that hangs would be asked for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""What MLflow reads from the environment, where the user has not set it."""
T = TypeVar("T")
log = logging.getLogger(__name__)


def own_store(home: Home) -> str:
    """The SQLite store that is used when the user names no other."""
    return f"sqlite:///{home.mlflow / 'mlflow.db'}"


def tracking_uri(home: Home) -> str:
    """The user's MLFLOW_TRACKING_URI, else the project's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_store(home)


def server() -> str | None:
    """The address of the user's MLflow server; None where the store is none that is asked over a network."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if uri.startswith(("http://", "https://")) else None


@lru_cache(maxsize=8)
def unanswered(address: str) -> str | None:
    """Why a server cannot be used, found out once in a process and within seconds; None where it answers."""
    import requests

    try:
        with requests.get(f"{address.rstrip('/')}/health", timeout=ANSWER_SECONDS, stream=True) as answer:
            # One that wants to know who asks, or knows no such page, is there.
            return f"it answers with error {answer.status_code}" if answer.status_code >= 500 else None
    except requests.Timeout:
        return f"it does not answer within {ANSWER_SECONDS:g} s"
    except requests.RequestException as error:
        # The whole text repeats the address, with the password that may stand in it.
        found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
        return found[1] if found else "it cannot be reached"


def kept_mark(home: Home) -> Path:
    """A file that is there while something waits to be sent."""
    return home.mlflow / "unsent"


def store_lock(home: Home) -> FileLock:
    """Held while something is looked for in the store and made where it is not there yet."""
    return FileLock(home.mlflow / "mlflow.lock")


def open_store(home: Home) -> "tuple[MlflowClient, str]":
    """The store in use and its experiment: the user's where it answers, else the home's own."""
    return in_store(home, lambda client, experiment: (client, experiment))


def in_store(home: Home, action: "Callable[[MlflowClient, str], T]") -> T:
    """Do something in the user's store; where its server fails, in the home's own.

    Args:
        home: has the own store.
        action: takes the client and the experiment's id; may be called a second time, with those of the other store.
    """
    address = server()
    if address is None:
        return action(*_opened(home, tracking_uri(home)))
    reason = unanswered(address)
    if reason is None:
        try:
            return action(*_opened(home, address))
        except failures() as error:
            reason = str(error)
    note_kept(home, reason)
    return action(*open_own(home))


def open_own(home: Home) -> "tuple[MlflowClient, str]":
    """The store in the home."""
    return _opened(home, own_store(home))


def is_kept(home: Home, client: "MlflowClient") -> bool:
    """Whether what this client records is meant for a server, and only kept in the home."""
    return server() is not None and client.tracking_uri == own_store(home)


def failures() -> tuple[type[Exception], ...]:
    """What MLflow raises where a server does not do what it is asked: its own error, or that of the connection."""
    from mlflow.exceptions import MlflowException

    return MlflowException, OSError


def note_kept(home: Home, reason: str) -> None:
    """Leave word that something is kept, and why."""
    home.mlflow.mkdir(parents=True, exist_ok=True)
    kept_mark(home).touch()
    told = scrubbed(reason.splitlines()[0], server() or "")
    log.warning("the MLflow server fails (%s): metrics are kept in %s", told, home.mlflow)


def _opened(home: Home, uri: str) -> "tuple[MlflowClient, str]":
    """A store and its experiment, made by one process at a time: two at once break a new SQLite store for good."""
    for name, value in QUICKLY.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with writing(home.mlflow):
        home.mlflow.mkdir(parents=True, exist_ok=True)
    with store_lock(home):
        if uri == own_store(home):
            _make_whole(home)
            adopt(home, EXPERIMENT)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return client, str(experiment.experiment_id)
        artifacts = (home.mlflow / "artifacts").as_uri() if uri == own_store(home) else None
        try:
            return client, str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
        except MlflowException:
            # A shared tracking server: a process of another home was faster.
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise
            return client, str(experiment.experiment_id)


def _make_whole(home: Home) -> None:
    """Make the own store aside, if it is not there: one whose making was killed could never be opened again."""
    from mlflow import MlflowClient

    place = home.mlflow / "mlflow.db"
    if not place.exists():
        with replaced(place) as temporary:
            aside = f"sqlite:///{temporary}"
            MlflowClient(tracking_uri=aside, registry_uri=aside).search_experiments(max_results=1)
