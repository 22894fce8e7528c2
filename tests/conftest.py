"""What holds for all tests: where they write, the order of their files, one thread each, and that Ctrl-C works.

Files that take long are tested first, so that no worker waits for another at the end. Ctrl-C is enabled for the
programs that tests start: in what a shell runs in the background it is ignored, and children inherit that. Workers of
pytest share the cores, so their threads would only wait for each other; tests that need several threads ask for them.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})  # read when the libraries are loaded

import numba
import psutil
import pytest
import torch

FOLDERS = {name: place for place, name in enumerate(("attack", "spark", "browser", "dagster", "core"))}
MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30
"""Bytes that must be free there: several times what all tests need at once."""


def pytest_configure(config: pytest.Config) -> None:
    """Write into memory if there is room: on a disk, SQLite and DuckDB wait at every one of thousands of commits.

    Done before the first temporary folder is made; workers and programs inherit it.
    """
    numba.set_num_threads(1)
    torch.set_num_threads(1)  # numba has just set OpenMP, which torch uses, to as many threads as there are cores
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    if min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with a slow test first, and whole lineages before the core's small parts."""
    here = Path(__file__).parent
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, FOLDERS[item.path.relative_to(here).parts[0]]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the folder ``spark`` to one worker, as if it were one file: its tests share a cluster."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tests/spark" if file.startswith("tests/spark/") else file

    return Scheduling(config, log) if config.option.dist == "loadfile" else None
