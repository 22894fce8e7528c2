"""Disks that are full, that cannot be written, and that disappear during a backfill.

Each time what was there stays, a message says what is wrong, and the next backfill finishes the work. Needs the right
to mount a file system. ``python tests/attack/disks.py --sizes 24 FOLDER``.
"""

import argparse
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ground import Ground, differing, hashes, left_over, readable
from kills import STAGES
from processes import PAIR, Ended, backfill

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import size_of

CLEAR = re.compile(r"no space left|cannot be written|a store of runs .*cannot be used|cannot be opened")
"""What a clear message contains."""
NOBODY = 65534
"""A user id that owns no home."""


def prepared(ground: Ground) -> Home:
    """A home with one pair's backfill; the attacks compare theirs with it."""
    whole = ground.home("whole")
    assert backfill(whole, ground.settings(), [PAIR]).failures == []
    return whole


def attack_full(ground: Ground, whole: Home, sizes: list[int], *, seed: int = 1) -> dict[str, object]:
    """Run backfills in a home whose disk is made larger each time, until one succeeds.

    Args:
        ground: Where the home is made.
        whole: A finished home, with the expected content.
        sizes: Rising sizes of the disk, in percent of the finished home's; the last one is enough.
        seed: The seed of the backfill.
    """
    home, expected, failed_at = ground.home("full"), hashes(whole), Counter[str]()
    needed = size_of(whole.root) / 100
    with _mounted(home.root, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        for percent in sizes:
            _mount("-o", f"remount,size={int(needed * percent / 1024)}k", str(home.root))
            before = hashes(home)
            ended = backfill(home, ground.settings(seed), [PAIR])
            found = hashes(home)
            assert before.keys() <= found.keys(), f"lost: {before.keys() - found.keys()}"
            assert not (half := differing(found, expected)), f"incomplete tables: {half}"
            if not ended.failures:
                break
            failed_at[_clear(ended).partition(":")[0]] += 1
            print(f"{percent} %: {_clear(ended)}", flush=True)
        assert ended.failures == [], ended.failures
        assert hashes(home).keys() == expected.keys()
        readable(home)
        return {"disks": failed_at.total() + 1, "failed at": dict(failed_at), **left_over(home)}


def attack_forbidden(ground: Ground, whole: Home, *, seed: int = 1) -> dict[str, object]:
    """A read-only home, and one that belongs to another user: a message, and the old content stays."""
    before, said = hashes(whole), []
    with _mounted(whole.root, "--bind", str(whole.root)):
        _mount("-o", "remount,ro,bind", str(whole.root))
        said.append(_clear(backfill(whole, ground.settings(seed + 1), [PAIR])))
    said.append(_clear(backfill(whole, ground.settings(seed + 1), [PAIR], user=NOBODY)))
    assert hashes(whole) == before
    assert backfill(whole, ground.settings(seed), [PAIR]).failures == []
    return {"homes": len(said), "said": said}


def attack_vanishing(ground: Ground, whole: Home, stages: list[str]) -> dict[str, object]:
    """The file system disappears when a stage starts, and comes back: the next backfill makes what is missing.

    Each stage has its own seed. The undisturbed home gets the same seeds in the same order, because the gate's reason
    names the previous champion.
    """
    elsewhere, home, said = ground.home("elsewhere"), ground.home("vanishing"), []
    shutil.copytree(whole.root, elsewhere.root)
    for seed, stage in enumerate(stages, 10):
        before, settings = hashes(elsewhere), ground.settings(seed)
        with _mounted(home.root, "--bind", str(elsewhere.root)):

            def watch(asset: str, state: str, stage: str = stage) -> float | None:
                if (asset, state) == (stage, "started"):
                    subprocess.run(["umount", "--lazy", str(home.root)], check=True)
                return None

            ended = backfill(home, settings, [PAIR], watch)
        assert ended.failures != [], "the backfill succeeded although its home was gone"
        said.append(f"{stage}: {(ended.failures or ['killed'])[0][:200]}")
        print(said[-1], flush=True)
        shutil.rmtree(home.root)  # what was written there while nothing was mounted
        assert before.keys() <= hashes(elsewhere).keys()
        with _mounted(home.root, "--bind", str(elsewhere.root)):
            assert backfill(home, settings, [PAIR]).failures == []
            readable(home)  # here, since views have absolute paths
            assert backfill(whole, settings, [PAIR]).failures == []
            assert not (other := differing(hashes(home), hashes(whole))), other
            left = left_over(home)
    return {"times": len(stages), "said": said, **left}


def may_mount(folder: Path) -> bool:
    """Whether a file system can be mounted here."""
    try:
        with _mounted(folder, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def _mounted(place: Path, *what: str) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    _mount(*what, str(place))
    try:
        yield
    finally:
        # The attack may have unmounted it already.
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _clear(ended: Ended) -> str:
    """The first message of a failed backfill, after a test that all its messages are clear."""
    assert ended.failures, "expected a failure with a message"
    unclear = [failure for failure in ended.failures if not CLEAR.search(failure) and "not run, since" not in failure]
    assert not unclear, unclear
    return ended.failures[0][:200]


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, default=24)
    asked = parser.parse_args()
    if not may_mount(asked.folder / "may"):
        print("skipped: full disks need the right to mount a file system")
        return
    ground, began = Ground.prepare(asked.folder, [("books", "movies")], "rating"), time.monotonic()
    whole = prepared(ground)
    sizes = [100 * (number + 1) // asked.sizes for number in range(4 * asked.sizes)]
    for seen in (
        attack_full(ground, whole, sizes),
        attack_forbidden(ground, whole),
        attack_vanishing(ground, whole, [stage for stage in STAGES if stage != "raw_ratings"]),
    ):
        print(f"disks: {seen} after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
