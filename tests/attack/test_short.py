"""The kills, so short that they fit among the tests; ``make attack`` has all attacks at full length."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.slow
def test_killed_benchmarks_leave_nothing_behind(tmp_path: Path) -> None:
    """Two kills in its cells, after each a look at all tables; in the end they are those of an undisturbed run."""
    command = [sys.executable, str(KILLS), "--of", "benchmark", "--kills", "2", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'kills': 2," in done.stdout
    assert "'dead Dagster runs': 0, 'dead MLflow runs': 0, 'temporary files': 0" in done.stdout
