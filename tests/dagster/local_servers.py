"""What tests need that start servers on this machine."""

import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from programs import PATIENCE


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, process: "subprocess.Popen[bytes] | subprocess.Popen[str]", log: Path | None = None) -> None:
    """Wait until a server answers at an address.

    Raises:
        AssertionError: its process ended, or it does not answer for too long; with the log's content, if there is one.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            logged = log.read_text() if log else ""
            assert process.poll() is None, f"the server of {address} ended: {logged}"
            assert time.monotonic() < deadline, f"nothing answers at {address}: {logged}"
            time.sleep(0.3)
