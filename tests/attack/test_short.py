"""The attacks themselves, so short that they fit among the tests; ``make attack`` has them at full length."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def attacked(script: str, folder: Path, *options: str) -> str:
    command = [sys.executable, str(HERE / script), *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_killed_backfills_leave_nothing_behind(tmp_path: Path) -> None:
    """Three kills, in three of the stages; every table is compared with those of an undisturbed run."""
    told = attacked("kills.py", tmp_path, "--kills", "3", "--of", "backfill")
    assert "'Dagster runs': 0, 'MLflow runs': 0, 'temporary files': 0" in told
