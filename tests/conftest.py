"""In which order files are tested: those that take long first, so that no worker waits for another at the end.

And that Ctrl-C counts in the programs that tests start: what a shell runs in the background has it ignored, and would
hand that down to them.
"""

import signal
from pathlib import Path

import pytest

FOLDERS = {name: place for place, name in enumerate(("attack", "browser", "dagster", "core"))}

signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a slow test before others, and whole lineages before the core's small parts."""
    here = Path(__file__).parent
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, FOLDERS[item.path.relative_to(here).parts[0]]))
