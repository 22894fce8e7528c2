"""What a block of code costs: seconds, processor seconds and the process's peak memory."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WATCH = """
import os, sys
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
with open(sys.argv[1], "w") as file:
    print(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, file=file)
"""
"""Starts a command from a small process, since the peak memory of a new process is at least its parent's."""
PEAK, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """What a block of code cost; set when the block ends.

    Args:
        seconds: Wall-clock seconds.
        processor: User and system seconds of all threads.
        peak_mb: Largest resident memory of the whole process during the block; on systems other than Linux, since the
            process began.
    """

    seconds: float = 0.0
    processor: float = 0.0
    peak_mb: float = 0.0

    def times(self, factor: float) -> "Cost":
        """The cost of ``factor`` repetitions, whose peak memory is that of one."""
        return Cost(self.seconds * factor, self.processor * factor, self.peak_mb)


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block of a ``with`` statement."""
    cost = Cost()
    if RESET.exists():
        RESET.write_text("5")
    clock, before = time.perf_counter(), os.times()
    try:
        yield cost
    finally:
        after = os.times()
        cost.seconds = time.perf_counter() - clock
        cost.processor = after.user + after.system - before.user - before.system
        cost.peak_mb = _peak_mb()


def measured_command(command: Sequence[str], environment: dict[str, str], output: Path) -> Cost:
    """Measure a whole command; memory is that of its largest process.

    Raises:
        RuntimeError: it failed; what it printed is in ``output``.
    """
    clock, usage = time.perf_counter(), output.with_suffix(".usage")
    with output.open("wb") as file:
        watch = [sys.executable, "-c", WATCH, str(usage), *command]
        subprocess.run(watch, env={**os.environ, **environment}, stdout=file, stderr=file, check=True)
    seconds = time.perf_counter() - clock
    status, processor, maxrss = map(float, usage.read_text().split())
    if status:
        raise RuntimeError(f"{' '.join(command)} failed; see {output}")
    return Cost(seconds, processor, _resident_mb(maxrss))


def _peak_mb() -> float:
    if PEAK.exists():
        lines = PEAK.read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return _resident_mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _resident_mb(maxrss: float) -> float:
    return maxrss / (1024 if sys.platform == "linux" else 1024**2)
