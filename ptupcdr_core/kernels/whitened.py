"""Ridge regressions that share a large constant part, each solved in as few dimensions as it has ratings.

Every row's system is A + XᵀX, with the same A = L Lᵀ for all of them and a row's own vectors X, one for each of its n
ratings. In the whitened vectors z = L⁻¹ x it is I + ZᵀZ, and by the identity (I + ZᵀZ)⁻¹ Zᵀ = Zᵀ (I + Z Zᵀ)⁻¹ a system
of n unknowns instead of D. Since most rows have few ratings, this makes a factorization of both domains affordable with
D = 256. Whitening, and the way back, are two matrix products for all rows together.

Without its rating j, a row's solution is Zᵀ (y - (y_j / M_jj) M_j), where y = M r and M_j is a column of
M = (I + Z Zᵀ)⁻¹: the factorization of n unknowns serves for all of the row's ratings.

Shapes: R rows, D embedding size, E coordinates with the padding, n ratings of a row, P ratings that are left out.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.kernels.csr import Csr, for_row_chunks
from ptupcdr_core.kernels.least_squares import (
    AHEAD,
    Doubles,
    Integers,
    Problem,
    Ridge,
    Workspace,
    padded_zeros,
    problem,
    solve,
    solve_rows,
    substitute,
    unobserved,
    workspace,
)
from ptupcdr_core.kernels.threads import one_thread, worked_ahead
from ptupcdr_core.kernels.vectors import (
    FAST,
    LINE,
    Constant,
    constant,
    inlined,
    load,
    loop,
    prefetch,
    spread,
    store,
    total,
)

BLOCK = 2_048
"""Rows that are multiplied at a time, in float64: few, since several blocks are made ahead."""
EIGHT = constant(8)


class Whitening(NamedTuple):
    """The other side's vectors, in coordinates in which the constant part of every row's system is the identity.

    Args:
        vectors: (columns, E) float32, z = L⁻¹ x, padded.
        inverse: (D, D) float32, L⁻¹.
    """

    vectors: Floats
    inverse: Floats

    @classmethod
    def of(cls, vectors: Floats, constant_part: Doubles, size: int) -> "Whitening":
        """Whiten vectors.

        Args:
            vectors: (columns, E) float32, padded.
            constant_part: (D, D) float64, A, positive definite.
            size: D.
        """
        with one_thread():
            root = scipy.linalg.cholesky(constant_part, lower=True)
            inverse = scipy.linalg.solve_triangular(root, np.eye(size), lower=True).astype(np.float32)
        white = padded_zeros(len(vectors), size)
        _multiply(vectors, inverse.T, white, size)
        return cls(white, inverse)

    @property
    def size(self) -> int:
        """D."""
        return len(self.inverse)

    def problem(self, rows: Csr) -> Problem:
        """The rows' systems in these coordinates."""
        width = self.vectors.shape[1]
        return Problem(rows, self.vectors, np.zeros((width + 1, width)), self.size, 1.0, False)


class Short(NamedTuple):
    """Arrays for solving rows of few ratings.

    Args:
        own: (D, E) float32, Z.
        gram: (D, E) float64, the upper factor U of I + Z Zᵀ = Uᵀ U from its diagonal on, with zeros as padding.
        sides: (3, E) float64, the inverse diagonal, y, and a column of M.
    """

    own: Floats
    gram: Doubles
    sides: Doubles

    @classmethod
    def empty(cls, white: Whitening) -> "Short":
        """Arrays for rows of fewer than D ratings."""
        size, width = white.size, white.vectors.shape[1]
        return cls(np.zeros((size, width), np.float32), np.zeros((size, width)), np.zeros((3, width)))


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
        solve_whitened(rows, vectors, shared_part(vectors, size, ridge), solved, size)


def shared_part(vectors: Floats, size: int, ridge: Ridge) -> Doubles:
    """(D, D) A, what all rows share where their penalty is not weighted."""
    shared: Doubles = unobserved(vectors, ridge.unobserved_weight)[:size, :size]
    return shared + ridge.regularization * np.eye(size)


def solve_whitened(rows: Csr, vectors: Floats, constant_part: Doubles, solved: Floats, size: int) -> None:
    """Fill ``solved`` with (A + XᵀX)⁻¹ Xᵀ r of every row; zeros for rows without ratings.

    Args:
        rows: the ratings r of R rows.
        vectors: (columns, E) float32 of the other side, padded.
        constant_part: (D, D) float64, A, positive definite.
        solved: (R+1, E) float32, padded.
        size: D.
    """
    solve_by(Whitening.of(vectors, constant_part, size), rows, solved)


def solve_by(white: Whitening, rows: Csr, solved: Floats) -> None:
    """The same with vectors that are already whitened."""
    side, width = white.problem(rows), white.vectors.shape[1]

    def solve_chunk(first: int, last: int) -> None:
        _solve_rows(EIGHT, first, last, side, solved, workspace(width), Short.empty(white))

    for_row_chunks(rows, solve_chunk)
    _multiply(solved, white.inverse, solved, white.size)


def left_out(white: Whitening, rows: Csr, users: Integers, places: NDArray[np.int64]) -> Floats:
    """(P, D) float32 solutions of rows, each without one of its ratings; zeros where that is its only one.

    Args:
        white: the other side's vectors.
        rows: the ratings; in their order.
        users: (P,) the row of each place; equal ones together.
        places: (P,) places of ratings.
    """
    width = white.vectors.shape[1]
    left = padded_zeros(len(places), white.size)
    _solve_left_out(EIGHT, users, places, white.problem(rows), left, workspace(width), Short.empty(white))
    _multiply(left, white.inverse, left, white.size)
    return left[:, : white.size].copy()


def _multiply(left: Floats, right: Floats, into: Floats, size: int) -> None:
    """into = left · right, in the first D columns; a block's product is ready before it is written.

    It is computed in float64 and rounded once, since the last bits of a library's product depend on the row's place and
    on the processor: so a row is the same in whatever block, and on whatever engine.
    """
    wide = right.astype(np.float64)

    def product(start: int) -> tuple[int, Doubles]:
        return start, left[start : start + BLOCK, :size].astype(np.float64) @ wide

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
    _factorize_short(lanes, begin, count, side, short)
    _combine(lanes, row, count, 1, solved, short)


@loop(fastmath=FAST)
def _solve_left_out(
    lanes: Constant,
    users: Integers,
    places: NDArray[np.int64],
    side: Problem,
    left: Floats,
    work: Workspace,
    short: Short,
) -> None:
    """Fill ``left`` in whitened coordinates; a row is factorized once, where its places begin."""
    size, width, white = side.size, side.vectors.shape[1], side.vectors
    system, sides, solved = work.system, work.sides, -1
    for m in range(len(places)):
        begin, end = side.rows.offsets[users[m]], side.rows.offsets[users[m] + 1]
        if end - begin < size:
            if users[m] != solved:
                _factorize_short(lanes, begin, end - begin, side, short)
            _leave_out_short(places[m] - begin, end - begin, short)
            _combine(lanes, m, end - begin, 2, left, short)
        else:  # by the Sherman-Morrison identity, in D dimensions
            if users[m] != solved:
                solve(begin, end, side, side.regularization, work)
            column, value = side.rows.columns[places[m]], side.rows.values[places[m]]
            for i in range(width):
                sides[0, i] = white[column, i]
            substitute(system, size, sides, 0)
            predicted, leverage = 0.0, 0.0
            for i in range(size):
                predicted += white[column, i] * (system[width, i] - value * sides[0, i])
                leverage += white[column, i] * sides[0, i]
            for i in range(size):
                left[m, i] = system[width, i] + (predicted / (1 - leverage) - value) * sides[0, i]
        solved = users[m]


@inlined(fastmath=FAST)
def _factorize_short(lanes: Constant, begin: int, count: int, side: Problem, short: Short) -> None:
    """Gather Z, factorize I + Z Zᵀ, and solve it for r: y is sides[1]."""
    columns, values, white = side.rows.columns, side.rows.values, side.vectors
    own, gram, sides, width = short.own, short.gram, short.sides, side.vectors.shape[1]
    for k in range(count):
        if begin + k + AHEAD < len(columns):
            for line in range(0, width, LINE):
                prefetch(white, columns[begin + k + AHEAD], line)
        for start in range(0, width, 8):
            store(own, k, start, load(white, columns[begin + k], start, lanes))
    for i in range(count):
        for j in range(i, count, 4):  # four sums at a time, so that row i is loaded once for them
            b, c, d = min(j + 1, count - 1), min(j + 2, count - 1), min(j + 3, count - 1)
            s0 = s1 = s2 = s3 = spread(np.float32(0), lanes)
            for start in range(0, width, 8):
                x = load(own, i, start, lanes)
                s0 = s0 + x * load(own, j, start, lanes)
                s1 = s1 + x * load(own, b, start, lanes)
                s2 = s2 + x * load(own, c, start, lanes)
                s3 = s3 + x * load(own, d, start, lanes)
            gram[i, j], gram[i, b], gram[i, c], gram[i, d] = total(s0), total(s1), total(s2), total(s3)
        gram[i, i] += 1.0
        for k in range(count, count + -count % 8):
            gram[i, k] = 0.0
        sides[1, i] = values[begin + i]
    for j in range(count):  # sums along a row would have to wait for what was written to it number by number
        scale = 1 / np.sqrt(gram[j, j])
        for start in range(j - j % 8, count, 8):
            store(gram, j, start, scale * load(gram, j, start, EIGHT))
        sides[0, j] = scale
        sides[1, j] *= scale
        for i in range(j + 1, count):
            factor = gram[j, i]
            sides[1, i] -= factor * sides[1, j]
            for start in range(i - i % 8, count, 8):
                store(gram, i, start, load(gram, i, start, EIGHT) - factor * load(gram, j, start, EIGHT))
    _substitute_back(1, count, short)


@inlined(fastmath=FAST)
def _substitute_back(side: int, count: int, short: Short) -> None:
    """Divide one of the sides by the upper factor."""
    gram, sides = short.gram, short.sides
    for i in range(count - 1, -1, -1):
        rest, edge = sides[side, i], i - i % 8 + 8
        for k in range(i + 1, min(edge, count)):
            rest -= gram[i, k] * sides[side, k]
        for start in range(edge, count, 8):
            rest -= total(load(gram, i, start, EIGHT) * load(sides, side, start, EIGHT))
        sides[side, i] = rest * sides[0, i]


@inlined(fastmath=FAST)
def _leave_out_short(place: int, count: int, short: Short) -> None:
    """sides[2] = y - (y_j / M_jj) M_j, what the row's other ratings count for without its rating j = ``place``."""
    gram, sides = short.gram, short.sides
    for i in range(count):
        sides[2, i] = 1.0 if i == place else 0.0
    for k in range(place, count):
        sides[2, k] *= sides[0, k]
        for i in range(k + 1, count):
            sides[2, i] -= gram[k, i] * sides[2, k]
    _substitute_back(2, count, short)
    step = sides[1, place] / sides[2, place]
    for i in range(count):
        sides[2, i] = sides[1, i] - step * sides[2, i]
    sides[2, place] = 0.0  # exactly


@inlined(fastmath=FAST)
def _combine(lanes: Constant, row: int, count: int, weights: int, solved: Floats, short: Short) -> None:
    """solved[row] = Zᵀ w, with w one of the sides."""
    own, sides = short.own, short.sides
    for start in range(0, own.shape[1], 8):
        sums = spread(np.float32(0), lanes)
        for k in range(count):
            sums = sums + np.float32(sides[weights, k]) * load(own, k, start, lanes)
        store(solved, row, start, sums)
