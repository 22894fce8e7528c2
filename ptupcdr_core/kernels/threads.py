"""One thread for linear algebra where more would cost time or change the last bits; several threads for separate
pieces."""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

import numba
import torch
from threadpoolctl import ThreadpoolController

Piece = TypeVar("Piece")
Done = TypeVar("Done")


class _OneThread:
    """The BLAS limit holds for the whole process, so the first to enter sets it and the last to leave lifts it.

    OpenMP's limit holds for each thread, so everyone who enters sets it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._torch_threads = 0
        self._blas: Any = None
        self._libraries: ThreadpoolController | None = None
        self._imported = 0

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._torch_threads = torch.get_num_threads()
                self._blas = self._all_libraries().limit(limits=1, user_api="blas")
            torch.set_num_threads(1)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._blas is not None:
                self._blas.restore_original_limits()
                torch.set_num_threads(self._torch_threads)

    def _all_libraries(self) -> ThreadpoolController:
        """Searched for again only after an import: it takes some milliseconds, and a request asks for it several
        times."""
        if self._libraries is None or self._imported != len(sys.modules):
            self._libraries, self._imported = ThreadpoolController(), len(sys.modules)
        return self._libraries


_ONE_THREAD = _OneThread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch and the BLAS libraries from dividing a calculation among threads.

    With small batches threads mostly wait for each other: 2,000 steps of 64 users took 26 s of two busy cores, and take
    0.5 s of one. Besides, divided sums round differently, so that results would depend on the number of threads. May be
    entered by several threads at once, as the benchmark's workers do.
    """
    _ONE_THREAD.enter()
    try:
        yield
    finally:
        _ONE_THREAD.leave()


def worked_ahead(work: Callable[[Piece], Done], pieces: Iterable[Piece], threads: int | None = None) -> Iterator[Done]:
    """The results of ``work``, in the order of the pieces; the next ones are computed while one is used.

    Linear algebra has one thread a piece. A single piece is computed in the calling thread.

    Args:
        work: makes a result of a piece.
        pieces: at most one more than there are threads are in memory.
        threads: None: ``numba.get_num_threads()``; 1 where pieces have to be computed in order.
    """
    threads = threads or numba.get_num_threads()
    rest = iter(pieces)
    first = list(islice(rest, 2))
    if len(first) < 2:
        with one_thread():
            yield from map(work, first)
        return
    with one_thread(), ThreadPoolExecutor(threads) as pool:  # entered here, not for each piece
        begun: deque[Future[Done]] = deque()
        for piece in chain(first, rest):
            begun.append(pool.submit(work, piece))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
