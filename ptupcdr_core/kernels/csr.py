"""Ratings grouped by user or by item: compressed sparse rows, and threads over them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.kernels.vectors import loop

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]

CHUNKS_PER_THREAD = 16  # rows are of very unequal size: enough pieces that no thread waits long for the last one
ROW_COST = 4  # solving a row costs about as much as reading a few of its ratings
LEAST_WORK = 4_096
"""Ratings from which threads pay: starting and ending them takes a millisecond, hundreds of times a backfill."""


class Csr(NamedTuple):
    """N ratings grouped by row; rows 0..R where row 0 is padding.

    Within a row, ratings keep the order in which they were given.

    Args:
        offsets: (R+2,) int64, row j's ratings are at offsets[j]:offsets[j+1].
        columns: (N,) int32.
        values: (N,) float32.
        order: (N,) int32, each rating's place in the original arrays.
    """

    offsets: NDArray[np.int64]
    columns: Integers
    values: Floats
    order: Integers


def require_rows(name: str, rows: Integers, count: int) -> None:
    """Refuse indices outside 1..count-1 with a ValueError: the compiled loops check no bounds."""
    if len(rows) and not (rows.min() >= 1 and rows.max() < count):
        raise ValueError(f"{name} must lie in 1..{count - 1}, found {rows.min()}..{rows.max()}")


def compress(rows: Integers, columns: Integers, values: Floats, row_count: int) -> Csr:
    """Group N ratings by row with one counting sort.

    Args:
        rows: (N,) int32 in 1..row_count.
        columns: (N,) int32.
        values: (N,) float32.
        row_count: R.

    Raises:
        ValueError: when a row is outside 1..row_count.
    """
    require_rows("rows", rows, row_count + 1)
    offsets = np.zeros(row_count + 2, np.int64)
    np.cumsum(np.bincount(rows, minlength=row_count + 1), out=offsets[1:])
    sorted_columns, sorted_values, order = np.empty_like(columns), np.empty_like(values), np.empty_like(rows)
    _counting_sort(offsets.copy(), rows, columns, values, sorted_columns, sorted_values, order)
    return Csr(offsets, sorted_columns, sorted_values, order)


def numbered(indices: Integers) -> tuple[NDArray[np.int64], Integers]:
    """The distinct indices, ascending, and (N,) int32 the number of each among them, from 1: a table without gaps."""
    present = np.flatnonzero(np.bincount(indices))
    numbers = np.zeros(int(indices.max(initial=0)) + 1, np.int32)
    numbers[present] = np.arange(1, len(present) + 1)
    return present, numbers[indices]


def for_row_chunks(csr: Csr, kernel: Callable[[int, int], None]) -> None:
    """Call ``kernel(first, last)`` for ranges of rows, on as many threads as ``numba.get_num_threads()`` says.

    Plain threads around kernels that release the interpreter lock, because numba's own parallel loops may not be
    entered from two threads at once on every platform. Rows are independent, so the result is the same for any
    number of threads.
    """
    threads = numba.get_num_threads()
    rows = len(csr.offsets) - 1
    work = csr.offsets[1:] + ROW_COST * np.arange(rows)
    if threads == 1 or work[-1] < LEAST_WORK:
        return kernel(0, rows)
    cuts = np.searchsorted(work, np.linspace(0, work[-1], threads * CHUNKS_PER_THREAD + 1)[1:-1])
    bounds = [0, *cuts.tolist(), rows]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(kernel, bounds[:-1], bounds[1:]))


@loop()
def _counting_sort(
    cursor: NDArray[np.int64],
    rows: Integers,
    columns: Integers,
    values: Floats,
    sorted_columns: Integers,
    sorted_values: Floats,
    order: Integers,
) -> None:
    """Fill the last three arrays; ``cursor``, where each row begins, is overwritten."""
    for k in range(len(rows)):
        place = cursor[rows[k]]
        cursor[rows[k]] += 1
        sorted_columns[place], sorted_values[place], order[place] = columns[k], values[k], k
