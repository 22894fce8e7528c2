"""The attacks themselves, so short that they fit among the tests; ``make attack`` has them at full length."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
NOTHING_LEFT = {"dead Dagster runs": 0, "dead MLflow runs": 0, "temporary files": 0}
Seen = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What each attack says of itself; each compares the tables with those of an undisturbed home."""
    command = [sys.executable, str(Path(__file__).with_name("short.py")), str(tmp_path_factory.mktemp("attack"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    found: Seen = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            [(name, told)] = json.loads(line).items()
            found.setdefault(name, []).append(told)
    return found


def test_killed_backfills_leave_nothing_behind(seen: Seen) -> None:
    [told] = seen["kills"]
    assert told["kills"] == 2
    assert NOTHING_LEFT.items() <= told.items()


def test_a_disk_that_is_full_or_forbidden_leaves_what_stands(seen: Seen) -> None:
    if "disks" not in seen:
        pytest.skip("full disks need the right to mount a file system")
    forbidden, full = seen["disks"]
    assert forbidden["homes"] == 2
    assert full["disks"] == 2
    assert NOTHING_LEFT.items() <= full.items()


def test_no_script_of_a_name_runs_on_the_page_of_a_pair(seen: Seen) -> None:
    if "hostile" not in seen:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    assert seen["hostile"] == [{"pages": 1}]


def test_who_is_forgotten_stands_in_no_file_of_a_home(seen: Seen) -> None:
    [told] = seen["forgetting"]
    assert {"bundles", "mlflow", "reports", "warehouse"} <= set(told["stood in"])


def test_two_backfills_and_a_reader_do_not_mix(seen: Seen) -> None:
    [told] = seen["crowd"]
    assert [len(found) for found in told["seeds"]] == [1]
    assert NOTHING_LEFT.items() <= told.items()
