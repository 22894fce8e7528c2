"""Which process owns a temporary file, a lock or a run, and whether it still lives."""

import hashlib
import os
import re
import socket
from dataclasses import dataclass

import psutil

_TOLERANCE_SECONDS = 5
"""Setting the clock moves the start time that the system reports for a process."""
_NAMED = re.compile(r"(\d+)-(\d+)-([0-9a-f]{8})(?![0-9a-f])")


@dataclass(frozen=True)
class Owner:
    """A process, distinguished from later ones with the same number.

    Args:
        pid: its number.
        started: when it started, in whole seconds of Unix time.
        host: eight hexadecimal digits that stand for its machine or container.
    """

    pid: int
    started: int
    host: str

    @classmethod
    def present(cls) -> "Owner":
        """This process."""
        return cls(os.getpid(), int(psutil.Process().create_time()), _host())

    @classmethod
    def named_in(cls, text: str) -> "Owner | None":
        """The first owner that a file's name or a tag names; None where it names none."""
        found = _NAMED.search(text)
        return None if found is None else cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        """Return its name, usable in a file's name."""
        return f"{self.pid}-{self.started}-{self.host}"

    @property
    def here(self) -> bool:
        """Whether it belongs to this machine, so that it can be looked for."""
        return self.host == _host()

    @property
    def gone(self) -> bool:
        """Whether it has ended; those of another machine are assumed to live."""
        return self.here and not lives(self.pid, self.started)


def lives(pid: int, started: float) -> bool:
    """Whether a process of this machine with that number, started at that time or somewhat before it, lives."""
    try:
        process = psutil.Process(pid)
        # A killed process stays listed until its exit code is fetched.
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= started + _TOLERANCE_SECONDS)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
