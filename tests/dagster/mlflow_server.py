"""A real MLflow server on this machine, made, started and stopped by the tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_servers import free_port, wait_for


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
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += [f"--backend-store-uri={store}", f"--artifacts-destination={artifacts}"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | quiet | variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/health", process, folder / "server.log")
        yield address, process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
