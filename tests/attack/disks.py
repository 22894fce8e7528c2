"""Disks that fill up at every stage, that cannot be written, and that disappear in the middle.

Each time the old content is untouched, the message says what is wrong, and the next run goes on. Needs the right to
mount a file system. ``python tests/attack/disks.py --sizes 24 FOLDER``.
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

from ground import Ground, differing, held, left_over, readable
from kills import STAGES
from processes import PAIR, Told, backfill

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import size_of

CLEAR = re.compile(r"no space left|cannot be written|a store of runs .*cannot be used|cannot be opened")
NOBODY = 65534


def prepared(ground: Ground) -> Home:
    """A home in which one pair was backfilled, for the attacks to compare with."""
    whole = ground.home("whole")
    assert backfill(whole, ground.settings(), [PAIR]).failures == []
    return whole


def attack_full(ground: Ground, whole: Home, sizes: list[int], *, seed: int = 1) -> dict[str, object]:
    """Run in a home on a disk that is larger each time.

    Args:
        ground: Has the home.
        whole: A finished home: how large it becomes, and what it holds then.
        sizes: Sizes of the disk, rising, in percent of that; the last one is enough.
        seed: The seed of the backfill.
    """
    home, expected, failed_at = ground.home("full"), held(whole), Counter[str]()
    needed = size_of(whole.root) / 100
    with _mounted(home.root, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        for percent in sizes:
            _mount("-o", f"remount,size={int(needed * percent / 1024)}k", str(home.root))
            before = held(home)
            told = backfill(home, ground.settings(seed), [PAIR])
            found = held(home)
            assert before.keys() <= found.keys(), f"lost: {before.keys() - found.keys()}"
            assert not (half := differing(found, expected)), f"half a table: {half}"
            if not told.failures:
                break
            failed_at[_clear(told).partition(":")[0]] += 1
            print(f"{percent} %: {_clear(told)}", flush=True)
        assert told.failures == [], told.failures
        assert held(home).keys() == expected.keys()
        readable(home)
        return {"disks": failed_at.total() + 1, "failed at": dict(failed_at), **left_over(home)}


def attack_forbidden(ground: Ground, whole: Home, *, seed: int = 1) -> dict[str, object]:
    """Homes that nobody, or not this user, may write: a message, and the old content stays."""
    before, said = held(whole), []
    with _mounted(whole.root, "--bind", str(whole.root)):
        _mount("-o", "remount,ro,bind", str(whole.root))
        said.append(_clear(backfill(whole, ground.settings(seed + 1), [PAIR])))
    said.append(_clear(backfill(whole, ground.settings(seed + 1), [PAIR], user=NOBODY)))
    assert held(whole) == before
    assert backfill(whole, ground.settings(seed), [PAIR]).failures == []
    return {"homes": len(said), "said": said}


def attack_vanishing(ground: Ground, whole: Home, stages: list[str]) -> dict[str, object]:
    """The file system goes away when a stage starts, and comes back: the next run makes what is missing.

    Each stage has a seed of its own. The undisturbed home gets the same seeds, for the gate's reason tells of the
    champion before.
    """
    elsewhere, home, said = ground.home("elsewhere"), ground.home("vanishing"), []
    shutil.copytree(whole.root, elsewhere.root)
    for seed, stage in enumerate(stages, 10):
        before, settings = held(elsewhere), ground.settings(seed)
        with _mounted(home.root, "--bind", str(elsewhere.root)):

            def watch(asset: str, state: str, stage: str = stage) -> float | None:
                if (asset, state) == (stage, "started"):
                    subprocess.run(["umount", "--lazy", str(home.root)], check=True)
                return None

            told = backfill(home, settings, [PAIR], watch)
        assert told.failures != [], "it succeeded, although its home was gone"
        said.append(f"{stage}: {(told.failures or ['killed'])[0][:200]}")
        print(said[-1], flush=True)
        shutil.rmtree(home.root)  # what it wrote where its home had been
        assert before.keys() <= held(elsewhere).keys()
        with _mounted(home.root, "--bind", str(elsewhere.root)):
            assert backfill(home, settings, [PAIR]).failures == []
            readable(home)  # whose views name its files
            assert backfill(whole, settings, [PAIR]).failures == []
            assert not (other := differing(held(home), held(whole))), other
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
        # It may be unmounted already, by the attack.
        subprocess.run(["umount", "--lazy", str(place)], check=False, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _clear(told: Told) -> str:
    """The first message of a failed backfill; all of them must be clear."""
    assert told.failures, "it should have failed with a message"
    unclear = [failure for failure in told.failures if not CLEAR.search(failure) and "not run, since" not in failure]
    assert not unclear, unclear
    return told.failures[0][:200]


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
