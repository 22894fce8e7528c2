"""The program with its libraries loaded once: it forks for each call, since loading takes longer than most commands.

The orchestration package depends on a catalog, so each fork loads that in its own environment. Reads lines of JSON from
standard input: ``{"arguments", "environment", "streams", "terminal"}`` starts a call whose standard streams are these
three files, and answers with its process id; ``{"poll": id}`` answers with its exit code, or null while it runs.
"""

import gc
import importlib
import io
import json
import os
import pkgutil
import sys
import tempfile
from typing import Any

import numba
from mlflow.utils import requirements_utils

import ptupcdr_core

LIBRARIES = (
    "ptupcdr_dagster.checks.loaded_library", "dagster", "dagster._core.workspace.context", "mlflow",
    "mlflow.pyfunc", "mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store", "alembic.command", "torch",
    "duckdb_engine", "matplotlib.pyplot", "PIL.PngImagePlugin", "scipy.stats", "sklearn.manifold", "pandas",
    "numba.typed", "typer", "rich.progress", "rich.traceback", "optuna", "ptupcdr_dagster.definitions",
    "ptupcdr_dagster.cli.commands",
)  # fmt: skip
FLAGS = (os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_APPEND)


def core_modules() -> list[str]:
    """All modules of the core, none of which needs a catalog or a home when it is imported."""
    return [module.name for module in pkgutil.walk_packages(ptupcdr_core.__path__, "ptupcdr_core.")]


def load() -> None:
    """Import what every call needs, whatever its catalog."""
    for name in (*LIBRARIES, *core_modules()):
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ptupcdr_dagster"]:
        del sys.modules[name]  # what it has imported stays loaded
    loop: Any = numba.njit(lambda: None)
    loop()  # loads what numba loads at the first call of any loop
    packages: Any = requirements_utils._init_modules_to_packages_map
    packages()  # MLflow caches this; otherwise it reads all of site-packages
    gc.freeze()  # what is loaded stays shared with the forks


def run(arguments: list[str], environment: dict[str, str], streams: list[str], terminal: bool) -> None:
    """In a fork: run the program."""
    os.setsid()  # the first terminal that is opened then becomes its own
    for descriptor, (path, flags) in enumerate(zip(streams, FLAGS, strict=True)):
        opened = os.open(path, os.O_RDWR if terminal else flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=terminal)  # it was opened on a pipe
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it was found for this program, and TMPDIR may be another one now
    sys.argv = ["ptupcdr", *arguments]
    from ptupcdr_dagster.__main__ import main

    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        # Unloading everything takes seconds; a test with a process of its own covers that.
        os._exit(int(end.code or 0))


def answer(asked: dict[str, Any]) -> int | None:
    """The id of a new process, or a process's exit code; does not return in a fork."""
    if "poll" in asked:
        ended, status = os.waitpid(asked["poll"], os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
    child = os.fork()
    if child == 0:
        run(**asked)
    return child


if __name__ == "__main__":
    load()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
