"""The attack of kills.py with two kills; ``make attack`` runs all attacks at full length."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.slow
def test_killed_benchmarks_leave_nothing_behind(tmp_path: Path) -> None:
    """After each of two kills all tables are whole; in the end they are those of an undisturbed run."""
    command = [sys.executable, str(KILLS), "--of", "benchmark", "--kills", "2", str(tmp_path)]
    # A separate folder, since other tests kill programs too; its name is short, since paths of sockets may not be long.
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        own = os.environ | {"TMPDIR": temporary}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'kills': 2," in done.stdout
    assert "'dead Dagster runs': 0, 'dead MLflow runs': 0, 'temporary files': 0" in done.stdout
