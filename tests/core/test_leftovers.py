"""Temporary files name their process: those of ended processes are found, those of living ones are left alone."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import leftovers, remove, size_of
from ptupcdr_core.store.owner import Owner

KILLED = """
import os, signal, sys
from pathlib import Path
from ptupcdr_core.store.leftovers import scratch_folder
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.store.replacing import replaced
root = Path(sys.argv[1])
warehouse = Warehouse(root / "warehouse", threads=1)
with warehouse.write("numbers", "a__b") as table, replaced(root / "models" / "m" / "x.json") as file:
    with scratch_folder() as scratch:
        (scratch / "content").write_text("scratch")
        (warehouse.root / next(warehouse.root.glob(".spill-*"), Path(".spill-none"))).mkdir(exist_ok=True)
        file.write_text("half")
        table.execute("create table numbers as select range i from range(100000)")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def own_scratch_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not this machine's, where other programs that were killed may have left some."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()


def test_what_a_killed_process_leaves_is_found_and_removed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(home.root)], check=False)
    assert killed.returncode == -9
    mine = home.models / "m" / f".{Owner.present()}-0123456789abcdef.tmp"
    mine.write_text("being written")
    found = leftovers(home)
    places = {path.parent.relative_to(tmp_path).as_posix() for path in found}
    assert {"home/warehouse/numbers", "home/models/m", "tmp"} <= places
    assert mine not in found
    assert sum(map(size_of, found)) > 0
    for path in found:
        remove(path)
    assert leftovers(home) == []
    assert list(tmp_path.rglob("*.tmp*")) == [mine]


def test_what_cannot_be_traced_goes_after_a_day(tmp_path: Path) -> None:
    """Of an older release, or of another machine that shares the folder; somebody's own files stay."""
    home = Home(tmp_path)
    home.reports.mkdir()
    elsewhere = Owner(1, 1, "00000000")
    names = [".0123456789abcdef0123456789abcdef.tmp", f".{elsewhere}-0123456789abcdef.tmp", ".mine.tmp"]
    files = [home.reports / name for name in names]
    for file in files:
        file.write_text("content")
    assert leftovers(home) == []
    for file in files:
        os.utime(file, (time.time() - 100_000, time.time() - 100_000))
    assert leftovers(home) == sorted(files[:2])


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    present = Owner.present()
    assert Owner.named_in(f".{present}-0123.tmp") == present
    assert not present.gone
    assert Owner(present.pid, present.started - 1000, present.host).gone, "the number was given to a later process"
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) is not None
        assert Owner(child.pid, int(time.time()), present.host).gone, "it has ended, but nobody has waited for it"
