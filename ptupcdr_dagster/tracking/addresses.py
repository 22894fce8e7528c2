"""Addresses of the UIs, for links: from the environment, else where ``ptupcdr up`` served them last."""

import json
import os

from ptupcdr_core.addresses import without_user
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced

DAGSTER, MLFLOW = "PTUPCDR_DAGSTER_UI", "PTUPCDR_MLFLOW_UI"
USUAL = {DAGSTER: "http://127.0.0.1:3000", MLFLOW: "http://127.0.0.1:5000"}


def dagster_ui(home: Home) -> str:
    """Address of the Dagster UI."""
    return _address(home, DAGSTER)


def mlflow_ui(home: Home) -> str:
    """Address of the MLflow UI; a tracking server has its own."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return without_user(uri).rstrip("/") if uri.startswith("http") else _address(home, MLFLOW)


def note_served(home: Home, dagster: str, mlflow: str) -> None:
    """Remember where the UIs are served, for commands in other terminals and for processes that this one starts."""
    served = {DAGSTER: dagster, MLFLOW: mlflow}
    os.environ |= served
    with replaced(home.served_at) as temporary:
        temporary.write_text(json.dumps(served) + "\n", encoding="utf-8")


def _address(home: Home, name: str) -> str:
    given = os.environ.get(name)
    if not given:
        try:
            given = json.loads(home.served_at.read_text(encoding="utf-8"))[name]
        except (OSError, ValueError, KeyError):
            given = USUAL[name]
    return str(given).rstrip("/")
