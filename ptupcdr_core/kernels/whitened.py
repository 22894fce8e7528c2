"""Ridge regressions that share a large constant part, each solved in as few dimensions as it has ratings.

Every row's system is A + XᵀX, with the same A = L Lᵀ for all of them and a row's own vectors X, one for each of its n
ratings. In the whitened vectors z = L⁻¹ x it is I + ZᵀZ, and by the identity (I + ZᵀZ)⁻¹ Zᵀ = Zᵀ (I + Z Zᵀ)⁻¹ a system
of n unknowns instead of D. Since most rows have few ratings, this makes a factorization of both domains affordable with
D = 256. Whitening, and the way back, are two matrix products for all rows together.

Shapes: R rows, D embedding size, E coordinates with the padding, n ratings of a row.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.csr import Csr, for_row_chunks
from ptupcdr_core.kernels.least_squares import (
    Doubles,
    Problem,
    Ridge,
    Workspace,
    padded,
    problem,
    solve,
    solve_rows,
    unobserved,
    workspace,
)
from ptupcdr_core.kernels.threads import worked_ahead
from ptupcdr_core.kernels.vectors import FAST, Constant, constant, inlined, load, loop, spread, store, total

BLOCK = 16_384
"""Rows that are multiplied at a time; fixed, so that the result does not depend on the number of threads."""
EIGHT = constant(8)


class Short(NamedTuple):
    """Arrays for solving rows of few ratings.

    Args:
        own: (D, E) float32, Z.
        gram: (D, D and padding) float64, the lower factor with zeros from its diagonal on.
        sides: (2, D) float64, the inverse diagonal and y.
    """

    own: Floats
    gram: Doubles
    sides: Doubles


def solve_side(rows: Csr, vectors: Floats, solved: Floats, size: int, ridge: Ridge) -> None:
    """Fill ``solved`` with every row's ridge solution, zeros without ratings; the same for any number of threads.

    Args:
        rows: the ratings by row.
        vectors: (columns, E) float32 of the other side, padded.
        solved: (R+1, E) float32, padded; written.
        size: D.
        ridge: of the rows.
    """
    if ridge.weighted:
        side = problem(rows, vectors, size, ridge)
        for_row_chunks(rows, lambda first, last: solve_rows(first, last, side, solved, workspace(vectors.shape[1])))
    else:  # all rows share the same constant part
        base = unobserved(vectors, ridge.unobserved_weight)[:size, :size]
        solve_whitened(rows, vectors, base + ridge.regularization * np.eye(size), solved, size)


def solve_whitened(rows: Csr, vectors: Floats, constant_part: Doubles, solved: Floats, size: int) -> None:
    """Fill ``solved`` with (A + XᵀX)⁻¹ Xᵀ r of every row; zeros for rows without ratings.

    Args:
        rows: the ratings r of R rows.
        vectors: (columns, E) float32 of the other side, padded.
        constant_part: (D, D) float64, A, positive definite.
        solved: (R+1, E) float32, padded.
        size: D.
    """
    root = scipy.linalg.cholesky(constant_part, lower=True)
    inverse = scipy.linalg.solve_triangular(root, np.eye(size), lower=True).astype(np.float32)
    white = padded(np.zeros((len(vectors), size), np.float32))
    _multiply(vectors, inverse.T, white, size)
    width, lanes = white.shape[1], constant(8)
    side = Problem(rows, white, np.zeros((width + 1, width)), size, 1.0, False)

    def solve_chunk(first: int, last: int) -> None:
        short = Short(np.zeros((size, width), np.float32), np.zeros((size, size + -size % 8)), np.zeros((2, size)))
        _solve_rows(lanes, first, last, side, solved, workspace(width), short)

    for_row_chunks(rows, solve_chunk)
    _multiply(solved, inverse, solved, size)


def _multiply(left: Floats, right: Floats, into: Floats, size: int) -> None:
    """into = left · right, in the first D columns; a block's product is ready before it is written."""

    def product(start: int) -> tuple[int, Floats]:
        return start, np.asarray(left[start : start + BLOCK, :size] @ right)

    for start, block in worked_ahead(product, range(0, len(left), BLOCK)):
        into[start : start + BLOCK, :size] = block


@loop(fastmath=FAST)
def _solve_rows(
    lanes: Constant, first: int, last: int, side: Problem, solved: Floats, work: Workspace, short: Short
) -> None:
    """Solve rows first..last-1 in whitened coordinates: those of many ratings in D dimensions, those of n < D in n."""
    width = side.vectors.shape[1]
    for row in range(first, last):
        begin, end = side.rows.offsets[row], side.rows.offsets[row + 1]
        if begin == end:
            for start in range(0, width, 8):
                store(solved, row, start, spread(np.float32(0), lanes))
        elif end - begin >= side.size:
            solve(begin, end, side, side.regularization, work)
            for i in range(width):
                solved[row, i] = work.system[width, i]
        else:
            _solve_short(lanes, row, begin, end - begin, side, solved, short)


@inlined(fastmath=FAST)
def _solve_short(
    lanes: Constant, row: int, begin: int, count: int, side: Problem, solved: Floats, short: Short
) -> None:
    """solved[row] = Zᵀ y with (I + Z Zᵀ) y = r."""
    columns, values, white = side.rows.columns, side.rows.values, side.vectors
    own, gram, sides, width = short.own, short.gram, short.sides, side.vectors.shape[1]
    for k in range(count):
        for start in range(0, width, 8):
            store(own, k, start, load(white, columns[begin + k], start, lanes))
    for i in range(count):
        for j in range(0, i + 1, 4):  # four sums at a time, so that row i is loaded once for them
            b, c, d = min(j + 1, i), min(j + 2, i), min(j + 3, i)
            s0 = s1 = s2 = s3 = spread(np.float32(0), lanes)
            for start in range(0, width, 8):
                x = load(own, i, start, lanes)
                s0 = s0 + x * load(own, j, start, lanes)
                s1 = s1 + x * load(own, b, start, lanes)
                s2 = s2 + x * load(own, c, start, lanes)
                s3 = s3 + x * load(own, d, start, lanes)
            gram[i, j], gram[i, b], gram[i, c], gram[i, d] = total(s0), total(s1), total(s2), total(s3)
        rest, inner = 1.0 + gram[i, i], np.float64(values[begin + i])
        for k in range(i, i + 8 - i % 8):
            gram[i, k] = 0.0
        for j in range(i):
            sums = spread(0.0, lanes)
            for start in range(0, j, 8):
                sums = sums + load(gram, i, start, lanes) * load(gram, j, start, lanes)
            gram[i, j] = (gram[i, j] - total(sums)) * sides[0, j]
            rest -= gram[i, j] * gram[i, j]
            inner -= gram[i, j] * sides[1, j]
        sides[0, i] = 1 / np.sqrt(rest)
        sides[1, i] = inner * sides[0, i]
    for i in range(count - 1, -1, -1):
        sides[1, i] *= sides[0, i]
        for j in range(i):
            sides[1, j] -= gram[i, j] * sides[1, i]
    for start in range(0, width, 8):
        sums = spread(np.float32(0), lanes)
        for k in range(count):
            sums = sums + np.float32(sides[1, k]) * load(own, k, start, lanes)
        store(solved, row, start, sums)
