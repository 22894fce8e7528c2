"""The program as users call it: one process per call, with its output and its exit code."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dagster as dg

from ptupcdr_core.store.home import Home

ROOT = Path(__file__).parents[2]
QUICK = ["--epochs", "2", "--embedding-size", "4"]
PATIENCE = 300.0
"""Seconds that a call may take on a busy machine."""


class LoadedProgram:
    """A server that has the program's libraries loaded (`loaded_program`); it ends with this process."""

    def __init__(self) -> None:
        ours = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": _python_path()}
        ours["PTUPCDR_CATALOG"] = str(ROOT / "data" / "domains.toml")  # of the calls, each has its own
        command = [sys.executable, str(Path(__file__).with_name("loaded_program.py"))]
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(command, env=os.environ | ours, stdin=pipe, stdout=pipe, text=True)
        self._turn = threading.Lock()

    def ask(self, **asked: object) -> int | None:
        """Send one request and return its answer."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with self._turn:
            print(json.dumps(asked), file=self._server.stdin, flush=True)
            answer: int | None = json.loads(self._server.stdout.readline())
            return answer


loaded_program = cache(LoadedProgram)


class Call:
    """A call of the program, running or ended."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], streams: list[str], *, terminal: bool = False
    ) -> None:
        self._server, self.returncode, self._streams = loaded_program(), None, streams
        asked = {"arguments": arguments, "environment": environment, "streams": streams, "terminal": terminal}
        pid = self._server.ask(**asked)
        assert pid is not None
        self.pid = pid

    returncode: int | None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ask(poll=self.pid)
        return self.returncode

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"it still runs after {PATIENCE:.0f} s"
            time.sleep(0.01)
        return code

    def communicate(self) -> tuple[str, str]:
        """Wait for its end, and return what it printed on standard output and standard error."""
        self.wait()
        output, errors = (Path(stream).read_text() for stream in self._streams[1:])
        return output, errors


@dataclass(frozen=True)
class Project:
    """A catalog and a home of its own."""

    catalog: Path
    home: Home

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a call, with few threads, since several of these processes share two cores."""
        ours = {"PTUPCDR_CATALOG": str(self.catalog), "PTUPCDR_HOME": str(self.home.root), "PYTHONPATH": _python_path()}
        # Temporary files of its own too: a program tidies up after killed ones, and says so, whoever killed them.
        temporary = self.catalog.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        ours |= {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", **more}
        return {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | ours

    def start(self, *arguments: str, **more: str) -> Call:
        """Start a call in a fork of the loaded program."""
        files = [tempfile.mkstemp(prefix="told-", dir=self.catalog.parent) for _ in range(2)]
        for descriptor, _ in files:
            os.close(descriptor)
        return Call(list(arguments), self.environment(**more), [os.devnull, *(path for _, path in files)])

    def start_alone(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        """Start a call in a new interpreter."""
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "ptupcdr_dagster", *arguments]
        return subprocess.Popen(command, env=self.environment(**more), stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a call to its end."""
        call = self.start(*arguments, **more)
        output, errors = call.communicate()
        return subprocess.CompletedProcess(["ptupcdr", *arguments], call.wait(), output, errors)

    def instance(self) -> dg.DagsterInstance:
        """Dagster's records of the home."""
        return dg.DagsterInstance.from_config(str(self.home.dagster))


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
