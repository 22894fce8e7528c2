"""A real MLflow server on this machine, made, started and stopped by the tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PATIENCE = 300.0
"""Seconds that a start may take on a busy machine; PostgreSQL's tables alone take some ten."""


@contextmanager
def serving(
    folder: Path, store: str, artifacts: str, **variables: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server; its address and its process, killed when the block ends.

    Args:
        folder: for its log.
        store: address of the database of runs and models.
        artifacts: where it keeps files.
        variables: more of its environment.
    """
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri={store}", f"--artifacts-destination={artifacts}"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | quiet | variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address, process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
