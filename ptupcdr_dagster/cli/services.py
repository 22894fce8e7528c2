"""``ptupcdr up``: the Dagster UI with its daemon and the MLflow UI in one command."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.cli.printing import say
from ptupcdr_dagster.running.instance import write_workspace
from ptupcdr_dagster.tracking.addresses import mlflow_ui, note_served
from ptupcdr_dagster.tracking.stores import artifact_root, open_store, tracking_uri

GRACE_SECONDS = 20.0


def serve(home: Home, host: str, port: int, mlflow_port: int, console: Console, log: Path) -> int:
    """Run all services until Ctrl-C, or until one of them ends; then stop the others.

    The services write to this process's own output, which is the log; messages for the user go to the console.

    Returns:
        0 after Ctrl-C, 1 if a service ended by itself.

    Raises:
        PtupcdrError: a port is taken.
    """
    remote_mlflow = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")
    for wanted, option in ((port, "--port"), (mlflow_port, "--mlflow-port")):
        if not (remote_mlflow and option == "--mlflow-port"):
            refuse_taken(host, wanted, option)
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # nosec B104 # asked for by --host, never the default
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Otherwise MLflow starts seven more processes, for jobs that judge language models.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    note_served(home, f"http://{shown}:{port}", f"http://{shown}:{mlflow_port}")
    commands = {"Dagster": _dagster_command(home, host, port)}
    say(console, f"Dagster UI  http://{shown}:{port}")
    if remote_mlflow:
        say(console, f"MLflow UI   {mlflow_ui(home)} (MLFLOW_TRACKING_URI)")
    else:
        open_store(home)
        commands["MLflow"] = _mlflow_command(home, host, mlflow_port)
        say(console, f"MLflow UI   http://{shown}:{mlflow_port}")
    say(console, f"The log     {log}")
    say(console, "Ctrl-C stops everything.")
    return _supervise(commands, console)


def _dagster_command(home: Home, host: str, port: int) -> list[str]:
    workspace = write_workspace(home)
    # The UI and the daemon in one, sharing one code server.
    return [_program("dagster"), "dev", "-w", str(workspace), "-h", host, "-p", str(port)]


def _mlflow_command(home: Home, host: str, port: int) -> list[str]:
    store = tracking_uri(home)
    return [
        _program("mlflow"),
        "server",
        f"--backend-store-uri={store}",
        f"--default-artifact-root={artifact_root(home, store)}",
        f"--host={host}",
        f"--port={port}",
        "--workers=1",
    ]


def _program(name: str) -> str:
    """The program of this virtual environment, even if that is not activated."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    return beside if os.path.exists(beside) else name


def refuse_taken(host: str, port: int, option: str) -> None:
    """Refuse a port that cannot be listened on, before anything is started.

    Raises:
        PtupcdrError: it cannot; the message names the option that chooses another.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PtupcdrError(
                f"{host}:{port} cannot be listened on ({error.strerror}): choose another {option}"
            ) from error


def _supervise(commands: Mapping[str, list[str]], console: Console) -> int:
    with _terminable():
        services: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, command in commands.items():
                # A session of its own: Ctrl-C reaches only this process, which stops each service with its children.
                services[name] = subprocess.Popen(command, start_new_session=True)
            while all(service.poll() is None for service in services.values()):
                time.sleep(0.3)
            ended = [name for name, service in services.items() if service.poll() is not None]
            say(console, f"{' and '.join(ended)} ended; the log says why. Stopping the rest")
            return 1
        except KeyboardInterrupt:
            say(console, "stopping")
            return 0
        finally:
            _stop(services.values())


@contextmanager
def _terminable() -> Iterator[None]:
    """Let a termination signal stop the services too, as Ctrl-C does.

    Ctrl-C's own handler is set as well: a shell starts background commands with that signal ignored, and the services
    would inherit it.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(services: "Iterable[subprocess.Popen[bytes]]") -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        running = [service for service in services if service.poll() is None]
        for service in running:
            _signal_group(service, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while any(service.poll() is None for service in running) and time.monotonic() < deadline:
            time.sleep(0.1)
    for service in services:
        # Ends processes that a service left behind in its session.
        _signal_group(service, signal.SIGKILL)


def _signal_group(service: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(service.pid, number)
