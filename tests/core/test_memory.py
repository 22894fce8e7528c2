"""What was freed goes back to the system."""

import ctypes
import resource
from pathlib import Path

import pytest

from ptupcdr_core.kernels.memory import give_back

PIECE, PIECES = 64 * 1024, 1_000


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_freed_pieces_are_given_back_though_one_behind_them_is_still_used():
    pieces = [bytearray(PIECE) for _ in range(PIECES)]
    last = bytearray(PIECE)  # keeps the heap from shrinking by itself
    held = resident()
    del pieces
    give_back()
    assert held - resident() > PIECE * PIECES * 0.8
    assert len(last) == PIECE
