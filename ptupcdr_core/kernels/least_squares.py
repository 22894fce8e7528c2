"""Small ridge regressions in compiled code: normal equations, their factorization, their solution.

A system is (E+1, E) float64: the upper triangle of A, and in the last row the right-hand side; E is the number of
coordinates D, with zeros up to a multiple of ``LANES``. Sums are made in tiles of 8 by 8 numbers that stay in registers
over many ratings, or rows of a factorization: a number of A is then read and written once for many of them. An
iteration of ALS with 64 coordinates takes .51 s this way; adding one rating, or row, after the other took .95 s (1.66
million ratings of 124,000 users and 50,000 items, two threads of a shared AMD EPYC).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.csr import Csr
from ptupcdr_core.kernels.threads import worked_ahead
from ptupcdr_core.kernels.vectors import (
    FAST,
    LINE,
    aligned_zeros,
    constant,
    inlined,
    load,
    loop,
    prefetch,
    store,
    total,
    widened,
)

Doubles = NDArray[np.float64]
Integers = NDArray[np.int32]

LANES = 8
EIGHT = constant(LANES)
GATHERED = 64  # ratings whose vectors are side by side at a time: with 64 coordinates they fill the first-level cache
AHEAD = 16  # ratings that are prefetched ahead: time enough for memory to answer; they may belong to the next rows
GRAM_BLOCK = 16_384  # vectors that are converted to float64 at a time


class Ridge(NamedTuple):
    """The penalty of one side's vectors.

    Args:
        regularization: λ, > 0.
        weighted: whether a row's penalty is λ times the number of its ratings (ALS-WR, Zhou et al. 2008), or λ itself.
        unobserved_weight: α ≥ 0, weight of every pair of a row and a column, whether rated or not.
    """

    regularization: float
    weighted: bool = True
    unobserved_weight: float = 0.0


class Problem(NamedTuple):
    """One ridge regression a row: of its ratings' values on the vectors of their columns.

    Args:
        rows: the ratings by row.
        vectors: (columns, E) float32, padded.
        base: (E+1, E) float64, the system that every row starts from; see ``unobserved``.
        size: D, the coordinates without padding.
        regularization: λ.
        weighted: as in ``Ridge``.
    """

    rows: Csr
    vectors: Floats
    base: Doubles
    size: int
    regularization: float
    weighted: bool


class Workspace(NamedTuple):
    """Arrays in which systems are solved one after the other.

    Args:
        system: (E+1, E); after ``solve`` the factorization, and the solution in its last row.
        gathered: (GATHERED, E) vectors of ratings.
        ones: (GATHERED,).
        scales: (E,).
        factors: (E,).
        sides: (2, E) further right-hand sides.
    """

    system: Doubles
    gathered: Doubles
    ones: Doubles
    scales: Doubles
    factors: Doubles
    sides: Doubles


def workspace(width: int) -> Workspace:
    """A workspace for systems of E = ``width`` coordinates."""
    return Workspace(
        np.empty((width + 1, width)),
        np.empty((GATHERED, width)),
        np.ones(GATHERED),
        np.empty(width),
        np.empty(width),
        np.empty((2, width)),
    )


def padded_zeros(rows: int, size: int) -> Floats:
    """Return aligned zeros (rows, E) for vectors of D = ``size`` coordinates."""
    return aligned_zeros(rows, size + -size % LANES)


def padded(vectors: Floats) -> Floats:
    """Return an aligned copy with zero columns up to a multiple of LANES."""
    rows, size = vectors.shape
    padded = padded_zeros(rows, size)
    padded[:, :size] = vectors
    return padded


@inlined(fastmath=FAST)
def _add_tile(
    base: Doubles, system: Doubles, row: int, column: int, factors: Doubles, scales: Doubles, first: int, last: int
) -> None:
    """system[row + j, column + l] = base[the same] + Σ_k scales[k] factors[k, row + j] factors[k, column + l], where
    k = first..last-1."""
    t0, t1 = load(base, row, column, EIGHT), load(base, row + 1, column, EIGHT)
    t2, t3 = load(base, row + 2, column, EIGHT), load(base, row + 3, column, EIGHT)
    t4, t5 = load(base, row + 4, column, EIGHT), load(base, row + 5, column, EIGHT)
    t6, t7 = load(base, row + 6, column, EIGHT), load(base, row + 7, column, EIGHT)
    for k in range(first, last):
        x = scales[k] * load(factors, k, column, EIGHT)
        t0 = t0 + factors[k, row] * x
        t1 = t1 + factors[k, row + 1] * x
        t2 = t2 + factors[k, row + 2] * x
        t3 = t3 + factors[k, row + 3] * x
        t4 = t4 + factors[k, row + 4] * x
        t5 = t5 + factors[k, row + 5] * x
        t6 = t6 + factors[k, row + 6] * x
        t7 = t7 + factors[k, row + 7] * x
    store(system, row, column, t0)
    store(system, row + 1, column, t1)
    store(system, row + 2, column, t2)
    store(system, row + 3, column, t3)
    store(system, row + 4, column, t4)
    store(system, row + 5, column, t5)
    store(system, row + 6, column, t6)
    store(system, row + 7, column, t7)


def problem(rows: Csr, vectors: Floats, size: int, ridge: Ridge) -> Problem:
    """Prepare the rows' regressions on the other side's padded vectors, of D = ``size`` coordinates."""
    base = unobserved(vectors, ridge.unobserved_weight)
    return Problem(rows, vectors, base, size, float(ridge.regularization), bool(ridge.weighted))


def unobserved(vectors: Floats, weight: float) -> Doubles:
    """(E+1, E) what every row's system starts from: α Σ q qᵀ over all rows of the other side, (rows, E) and padded."""
    width = vectors.shape[1]
    base = np.zeros((width + 1, width))
    if weight:
        # Blocks are multiplied at once, but added in order: the sum must not depend on the number of threads.
        blocks = (vectors[start : start + GRAM_BLOCK] for start in range(0, len(vectors), GRAM_BLOCK))
        for upper in worked_ahead(upper_gram, blocks):
            base[:width] += weight * upper
        base[:width] += np.triu(base[:width], 1).T
    return base


def upper_gram(block: Floats) -> Doubles:
    """(E, E) Σ q qᵀ over a block of vectors, with zeros below the diagonal: half the work of a plain product."""
    upper: Doubles = dsyrk(1.0, block.astype(np.float64).T)
    return upper


@inlined(fastmath=FAST)
def _normal_equations(begin: int, end: int, side: Problem, ridge: float, work: Workspace) -> None:
    """system = base + [Σ x xᵀ + ridge I, Σ value x (last row)] over the ratings begin..end; see ``solve``."""
    columns, values, vectors = side.rows.columns, side.rows.values, side.vectors
    system, gathered, width = work.system, work.gathered, work.system.shape[1]
    for start in range(0, width, LANES):
        store(system, width, start, load(side.base, width, start, EIGHT))
    before = side.base
    for first in range(begin, end, GATHERED):
        count = min(GATHERED, end - first)
        for k in range(count):
            place = first + k
            column, value = columns[place], np.float64(values[place])
            if place + AHEAD < len(columns):
                for line in range(0, width, LINE):
                    prefetch(vectors, columns[place + AHEAD], line)
            for start in range(0, width, LANES):
                x = widened(load(vectors, column, start, EIGHT))
                store(gathered, k, start, x)
                store(system, width, start, load(system, width, start, EIGHT) + value * x)
        for start in range(0, width, LANES):
            for row in range(0, start + 1, LANES):
                _add_tile(before, system, row, start, gathered, work.ones, 0, count)
        before = system
    for i in range(width):
        system[i, i] += ridge


@inlined(fastmath=FAST)
def _factorize(size: int, work: Workspace) -> None:
    """Turn the matrix A of the system into D Lᵀ of A = L D Lᵀ, with 1/D on the diagonal: Cholesky without roots."""
    system, scales, factors, width = work.system, work.scales, work.factors, work.system.shape[1]
    for block in range(0, width, LANES):
        for i in range(block, min(block + LANES, size)):
            for k in range(block, i):
                factors[k] = system[k, i] * scales[k]
            for start in range(block, width, LANES):
                t = load(system, i, start, EIGHT)
                for k in range(block, i):
                    t = t + factors[k] * load(system, k, start, EIGHT)
                store(system, i, start, t)
            system[i, i] = 1 / system[i, i]
            scales[i] = -system[i, i]
        for row in range(block + LANES, width, LANES):
            for start in range(row, width, LANES):
                _add_tile(system, system, row, start, system, scales, block, block + LANES)


@inlined(fastmath=FAST)
def substitute(system: Doubles, size: int, b: Doubles, row: int) -> None:
    """Replace b[row] by the solution x of A x = b[row], from the factorization that ``solve`` left in the system."""
    width = system.shape[1]
    for k in range(size):
        scaled, edge = b[row, k] * system[k, k], k - k % LANES + LANES
        for i in range(k + 1, edge):
            b[row, i] -= scaled * system[k, i]
        for start in range(edge, width, LANES):
            store(b, row, start, load(b, row, start, EIGHT) - scaled * load(system, k, start, EIGHT))
    for k in range(size - 1, -1, -1):
        rest, edge = b[row, k], k - k % LANES + LANES
        for i in range(k + 1, edge):
            rest -= system[k, i] * b[row, i]
        for start in range(edge, width, LANES):
            rest -= total(load(system, k, start, EIGHT) * load(b, row, start, EIGHT))
        b[row, k] = rest * system[k, k]


@inlined()
def solve(begin: int, end: int, side: Problem, ridge: float, work: Workspace) -> None:
    """Fit the ratings begin..end, at least one: (Σ x xᵀ + base + ridge I)⁻¹ Σ value x, into the system's last row."""
    _normal_equations(begin, end, side, ridge, work)
    _factorize(side.size, work)
    substitute(work.system, side.size, work.system, work.system.shape[1])


@loop()
def solve_rows(first: int, last: int, side: Problem, solved: Floats, work: Workspace) -> None:
    """Fill the rows first..last of ``solved`` with their ridge solutions, zeros without ratings."""
    width = side.base.shape[1]
    for row in range(first, last):
        begin, end = side.rows.offsets[row], side.rows.offsets[row + 1]
        if begin == end:
            for i in range(width):
                solved[row, i] = 0
            continue
        solve(begin, end, side, side.regularization * (end - begin if side.weighted else 1), work)
        for i in range(width):
            solved[row, i] = work.system[width, i]


@loop()
def leave_one_out(first: int, last: int, side: Problem, left_out: Floats, work: Workspace) -> None:
    """Fill ``left_out``, at every rating's place, with its row's solution without it; unchanged where it is the only
    one."""
    size, width, vectors = side.size, side.vectors.shape[1], side.vectors
    offsets, columns, values, order = side.rows
    system, z = work.system, work.sides
    for row in range(first, last):
        begin, end = offsets[row], offsets[row + 1]
        if end - begin < 2:
            continue
        solve(begin, end, side, side.regularization * (end - begin - 1 if side.weighted else 1), work)
        for k in range(begin, end):
            user, place = columns[k], order[k]
            for i in range(width):
                z[0, i] = vectors[user, i]
            substitute(system, size, z, 0)
            predicted, leverage = 0.0, 0.0
            for i in range(size):
                predicted += vectors[user, i] * system[width, i]
                leverage += vectors[user, i] * z[0, i]
            step = (predicted - values[k]) / (1 - leverage)
            for i in range(size):
                left_out[place, i] = system[width, i] + step * z[0, i]
