"""Where MLflow keeps things: a store in the home, or the user's server, with the home's store as its stand-in.

A server that is down costs seconds, not the night: what was meant for it is kept in the home's own store, marked as
unsent, and can be sent later (``tracking/sending.py``).
"""

import logging
import os
import re
import sqlite3
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock

from ptupcdr_core.addresses import scrubbed
from ptupcdr_core.errors import StorageError, first_line
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced, writing
from ptupcdr_dagster.tracking.moved import adopt

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "ptupcdr"
UNSENT = "ptupcdr.unsent"
"""The tag of runs and model versions that are kept for a server."""
ANSWER_SECONDS = 5.0
"""How long a server may take to say that it is there."""
QUICKLY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # With MLflow's defaults, a server that hangs would be asked for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""Variables that MLflow reads, set where the user has not set them."""
T = TypeVar("T")
log = logging.getLogger(__name__)


def own_store(home: Home) -> str:
    """The SQLite store that is used when the user names no other."""
    return f"sqlite:///{home.mlflow / 'mlflow.db'}"


def tracking_uri(home: Home) -> str:
    """The user's MLFLOW_TRACKING_URI, else the project's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_store(home)


def server() -> str | None:
    """The address of the user's MLflow server; None if the store is not a server."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if uri.startswith(("http://", "https://")) else None


def artifact_root(home: Home, uri: str) -> str | None:
    """Where the files of runs are kept; None where a server decides.

    Of a database, MLflow's own default is a folder below the one that a program happens to be started in.

    Args:
        home: Keeps them if nothing else is said; always those of its own store.
        uri: The store's address.
    """
    from mlflow.store.db.db_types import DATABASE_ENGINES

    if urlsplit(uri).scheme.split("+")[0] not in DATABASE_ENGINES:
        return None
    named = "" if uri == own_store(home) else os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT", "")
    return named or (home.mlflow / "artifacts").as_uri()


@lru_cache(maxsize=8)
def unanswered(address: str) -> str | None:
    """Why a server cannot be used, found out once per process and within seconds; None if it answers."""
    import requests

    try:
        with requests.get(f"{address.rstrip('/')}/health", timeout=ANSWER_SECONDS, stream=True) as answer:
            # A server that asks for a login, or has no such page, is there.
            return f"it answers with error {answer.status_code}" if answer.status_code >= 500 else None
    except requests.Timeout:
        return f"it does not answer within {ANSWER_SECONDS:g} s"
    except requests.RequestException as error:
        # The whole text repeats the address, which may contain a password.
        found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
        return found[1] if found else "it cannot be reached"


def kept_mark(home: Home) -> Path:
    """A file that is there while something waits to be sent."""
    return home.mlflow / "unsent"


def store_lock(home: Home) -> FileLock:
    """Held while something is looked up in the store, and made if it is not there."""
    return FileLock(home.mlflow / "mlflow.lock")


def open_store(home: Home) -> "tuple[MlflowClient, str]":
    """The store in use and its experiment: the user's if it answers, else the home's own."""
    return in_store(home, lambda client, experiment: (client, experiment))


def in_store(home: Home, action: "Callable[[MlflowClient, str], T]") -> T:
    """Do something in the user's store; if its server fails, in the home's own.

    Args:
        home: Has its own store.
        action: Takes the client and the experiment's id; may be called a second time, with those of the home's store.
    """
    address = server()
    if address is None:
        return action(*_opened(home, tracking_uri(home)))
    reason = unanswered(address)
    if reason is None:
        try:
            return action(*_opened(home, address))
        except failures() as error:
            reason = first_line(error)
    note_kept(home, reason)
    return action(*open_own(home))


def open_own(home: Home) -> "tuple[MlflowClient, str]":
    """The store in the home."""
    return _opened(home, own_store(home))


def is_kept(home: Home, client: "MlflowClient") -> bool:
    """Whether what this client records is meant for a server, and kept in the home only meanwhile."""
    return server() is not None and client.tracking_uri == own_store(home)


def failures() -> tuple[type[Exception], ...]:
    """Errors that MLflow raises if a server fails: its own, or those of the connection."""
    from mlflow.exceptions import MlflowException

    return MlflowException, OSError


def store_fails(cause: BaseException | str | None, place: Path | None = None) -> StorageError:
    """The error to show when Dagster's or MLflow's store of runs cannot be used.

    Args:
        cause: Why, or its text.
        place: The store's folder, where that is known.
    """
    where = f" in {place}" if place else ""
    return StorageError(
        f"a store of runs{where} cannot be used ({cause}): free some space, make it writable, "
        "or move it away if it is damaged, and run again; what stood there before is untouched"
    )


def note_kept(home: Home, reason: str) -> None:
    """Mark that something is kept, and log why."""
    home.mlflow.mkdir(parents=True, exist_ok=True)
    kept_mark(home).touch()
    told = scrubbed(reason, server() or "")
    log.warning("the MLflow server fails (%s): metrics are kept in %s", told, home.mlflow)


def _opened(home: Home, uri: str) -> "tuple[MlflowClient, str]":
    """Open a store and its experiment, one process at a time: two at once break a new SQLite store for good."""
    for name, value in QUICKLY.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with writing(home.mlflow):
        home.mlflow.mkdir(parents=True, exist_ok=True)
    with store_lock(home):
        if uri == own_store(home):
            try:
                _make_whole(home)
                adopt(home, EXPERIMENT)
            except sqlite3.DatabaseError as error:
                raise store_fails(error, home.mlflow) from error
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return client, str(experiment.experiment_id)
        try:
            return client, str(client.create_experiment(EXPERIMENT, artifact_location=artifact_root(home, uri)))
        except MlflowException:
            # On a shared tracking server, a process of another home was faster.
            experiment = client.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise
            return client, str(experiment.experiment_id)


def _make_whole(home: Home) -> None:
    """Make a missing own store under another name first: one that is killed half-made can never be opened again."""
    from mlflow import MlflowClient

    place = home.mlflow / "mlflow.db"
    if not place.exists():
        with replaced(place) as temporary:
            aside = f"sqlite:///{temporary}"
            MlflowClient(tracking_uri=aside, registry_uri=aside).search_experiments(max_results=1)
