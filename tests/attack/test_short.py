"""The kills, shortened to fit among the tests; ``make attack`` runs all attacks at full length."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.slow
def test_killed_benchmarks_leave_nothing_behind(tmp_path: Path) -> None:
    """Two kills in its cells, after each a look at all tables; in the end they are those of an undisturbed run."""
    command = [sys.executable, str(KILLS), "--of", "benchmark", "--kills", "2", str(tmp_path)]
    # Of its own, since other tests kill programs too, and short, since there are sockets in it.
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        own = os.environ | {"TMPDIR": temporary}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'kills': 2," in done.stdout
    assert "'dead Dagster runs': 0, 'dead MLflow runs': 0, 'temporary files': 0" in done.stdout
