"""Links point to where the UIs are served, also from a command in another terminal."""

import pytest

from ptupcdr_core.store.home import Home
from ptupcdr_dagster.tracking.addresses import DAGSTER, MLFLOW, USUAL, dagster_ui, mlflow_ui, note_served


def test_links_follow_the_ports_that_the_uis_were_served_at(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (DAGSTER, MLFLOW):
        monkeypatch.setenv(name, "")
    assert (dagster_ui(home), mlflow_ui(home)) == tuple(USUAL.values())
    note_served(home, "http://127.0.0.1:3100", "http://127.0.0.1:5100")
    for name in (DAGSTER, MLFLOW):
        monkeypatch.delenv(name)  # as in another terminal
    assert (dagster_ui(home), mlflow_ui(home)) == ("http://127.0.0.1:3100", "http://127.0.0.1:5100")
    monkeypatch.setenv(DAGSTER, "https://dagster.example/")
    assert dagster_ui(home) == "https://dagster.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example")
    assert mlflow_ui(home) == "https://mlflow.example"
    home.served_at.write_text("{")
    assert dagster_ui(Home(home.root)) == "https://dagster.example"
    monkeypatch.delenv(DAGSTER)
    assert dagster_ui(home) == USUAL[DAGSTER]
