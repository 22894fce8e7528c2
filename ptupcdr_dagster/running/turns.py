"""One backfill per partition at a time: a second one waits, and says for which process."""

import json
import multiprocessing
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced, writing


@contextmanager
def turn(home: Home, job: str, partition: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the partition's lock for the block; the system frees it when the process ends, however that ends.

    Args:
        home: Has the locks.
        job: What is run on the partition.
        partition: A domain or pair.
        on_wait: Called once before waiting, with the process that holds the lock.

    Raises:
        StorageError: the home cannot be written.
    """
    place = home.root / "locks" / f"{job}-{partition}"
    lock, holder = FileLock(f"{place}.lock"), Path(f"{place}.json")
    with writing(holder):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait(_told(holder))
            lock.acquire(poll_interval=0.2)
    try:
        with replaced(holder) as temporary:
            temporary.write_text(json.dumps(_ourselves()))
        yield
    finally:
        lock.release()


@lru_cache(maxsize=1)
def end_with_parent() -> None:
    """End this process at once when its parent is killed: it would go on without holding the partition's lock.

    Files are replaced whole, so it may end anywhere. In a process without a parent of ours, this does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _ourselves() -> dict[str, object]:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"pid": os.getpid(), "command": command, "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}


def _told(holder: Path) -> str:
    try:
        noted = json.loads(holder.read_text())
        return f"process {noted['pid']} (`{noted['command']}`, since {noted['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        # It has the lock, but has not written its name yet.
        return "another process"
