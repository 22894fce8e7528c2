"""Disks that are full at every stage, that may not be written, and that disappear in the middle.

Each time what stood before stands, the message says what is wrong, and the next run goes on. Needs the right to mount
a file system. ``python tests/attack/disks.py --sizes 12 FOLDER``.
"""

import argparse
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ground import PAIR, Ground, Held, backfill, held, left_over, readable

from ptupcdr_core.store.leftovers import size_of

CLEAR = re.compile(
    r"no space left|disk is full|cannot be written|No space left|Read-only file system|a store of runs cannot be used"
)


def attack_full_disk(ground: Ground, sizes: int) -> dict[str, object]:
    """Run in a home on a disk that is larger each time, until everything fits."""
    whole = ground.home("whole")
    assert backfill(whole, ground.settings(), [PAIR]).failures == []
    needed, expected = size_of(whole.root), held(whole)
    home, failed_at = ground.home("full"), Counter[str]()
    home.root.mkdir()
    _mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(home.root))
    try:
        for number in range(1, 3 * sizes):
            before = held(home)
            kilobytes = needed * number // sizes // 1024
            _mount("-o", f"remount,size={kilobytes}k", str(home.root))
            failures = backfill(home, ground.settings(), [PAIR]).failures
            assert failures is not None, "it ended without a word"
            _require_standing(before, held(home), expected)
            if not failures:
                break
            unclear = [failure for failure in failures if not CLEAR.search(failure) and "not run, since" not in failure]
            assert not unclear, unclear
            failed_at[failures[0].partition(":")[0]] += 1
            print(f"{kilobytes} kB: {failures[0][:150]}", flush=True)
        assert not failures, failures
        return {"failed at": dict(failed_at), "tables": len(expected), **left_over(home)}
    finally:
        subprocess.run(["umount", "-l", str(home.root)], check=True)


def attack_read_only(ground: Ground) -> dict[str, object]:
    """A home in which nothing may be written: a message, and what stands stays."""
    home = ground.home("forbidden")
    shutil.copytree(ground.home("whole").root, home.root)
    _mount("--bind", str(home.root), str(home.root))
    _mount("-o", "remount,ro,bind", str(home.root))
    before = held(ground.home("whole"))
    try:
        failures = backfill(home, ground.settings(2), [PAIR]).failures
        assert failures, "it may not be written"
        assert all(CLEAR.search(failure) for failure in failures), failures
    finally:
        subprocess.run(["umount", "-l", str(home.root)], check=True)
    assert held(home) == before
    assert backfill(home, ground.settings(), [PAIR]).failures == []
    return {"told": failures[0][:150]}


def attack_disappearing(ground: Ground, stages: list[str]) -> dict[str, object]:
    """The file system goes away at a stage, and comes back: the next run makes what is missing."""
    elsewhere, home = ground.home("elsewhere"), ground.home("gone")
    shutil.copytree(ground.home("whole").root, elsewhere.root)
    home.root.mkdir()
    told = []
    for seed, stage in enumerate(stages, 10):
        _mount("--bind", str(elsewhere.root), str(home.root))
        before = held(home)

        def watch(asset: str, state: str, stage: str = stage) -> float | None:
            if (asset, state) == (stage, "started"):
                subprocess.run(["umount", "-l", str(home.root)], check=True)
                return 60.0
            return None

        failures = backfill(home, ground.settings(seed), [PAIR], watch).failures
        told.append("killed after a minute" if failures is None else failures[0][:100] if failures else "nothing")
        assert failures != [], "a home that is gone cannot have been written"
        for path in home.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert held(elsewhere).keys() == before.keys()
    _mount("--bind", str(elsewhere.root), str(home.root))
    try:
        readable(home)  # whose views name its files
        assert backfill(home, ground.settings(), [PAIR]).failures == []
        assert held(home) == held(ground.home("whole"))
        return {"told": told, **left_over(home)}
    finally:
        subprocess.run(["umount", "-l", str(home.root)], check=True)


def may_mount(folder: Path) -> bool:
    """Whether a file system can be mounted here."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _require_standing(before: Held, after: Held, expected: Held) -> None:
    for key, content in after.items():
        assert content == expected[key] or key[0] == "champion", f"{key} is half a table"
    assert before.keys() <= after.keys(), f"lost: {before.keys() - after.keys()}"


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, default=24)
    parser.add_argument("--stages", nargs="*", default=["domain_splits", "meta_network", "recommendations"])
    parser.add_argument("--mode", choices=["both", "rating"], default="both")
    asked = parser.parse_args()
    if not may_mount(asked.folder / "may"):
        print("skipped: full disks need the right to mount a file system")
        return
    ground = Ground.prepare(asked.folder, [("books", "movies")], asked.mode)
    _print("full", lambda: attack_full_disk(ground, asked.sizes))
    _print("read-only", lambda: attack_read_only(ground))
    _print("disappearing", lambda: attack_disappearing(ground, asked.stages))


def _print(name: str, attack: Callable[[], dict[str, object]]) -> None:
    began = time.monotonic()
    print(f"{name}: {attack()} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
