"""Alternating least squares: exact ridge solutions, row by row, in compiled code.

Shapes: N ratings, D embedding size, U users, I items, R rows of either side. Row 0 of every table is padding.
"""

from collections.abc import Callable

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from ptupcdr_core.training.csr import Csr, Floats, Integers, compress, for_row_chunks, require_rows
from ptupcdr_core.training.device_als import als_on_device
from ptupcdr_core.training.simd import FAST, LINE, aligned_zeros, constant, load, prefetch, store, widened
from ptupcdr_core.training.threads import one_thread

Doubles = NDArray[np.float64]

LANES = 8
EIGHT = constant(LANES)
AHEAD = 16  # ratings: time enough for memory to answer; they may belong to the next rows
GRAM_BLOCK = 65_536
INITIAL_SCALE = 0.1  # small, so that the first solves are ridge solutions of small factors and not of noise


def als(
    users: Integers,
    items: Integers,
    residuals: Floats,
    user_count: int,
    item_count: int,
    *,
    size: int,
    user_regularization: float,
    item_regularization: float,
    iterations: int,
    seed: int,
    weighted: bool = True,
    unobserved_weight: float = 0.0,
    on_iteration: Callable[[int, Floats, Floats], None] | None = None,
    device: torch.device | None = None,
) -> tuple[Floats, Floats]:
    """Factorize residuals: minimize Σ (r - p·q)² + α Σ_all (p·q)² + Σ_u λ_u |p_u|² + Σ_j λ_j |q_j|².

    With α > 0 and ones for residuals this is implicit feedback (Hu et al. 2008, in the form of Rendle et al. 2022):
    every pair of a user and an item counts a little as "not taken". It costs one D×D matrix an iteration.

    Args:
        users: (N,) int32 in 1..U.
        items: (N,) int32 in 1..I.
        residuals: (N,) float32, ratings minus whatever baseline they are to be explained beyond.
        user_count: U.
        item_count: I.
        size: D.
        user_regularization: λ of users, > 0.
        item_regularization: λ of items, > 0.
        iterations: each solves all users, then all items.
        seed: fixes the initial item vectors, N(0, 0.1²).
        on_iteration: told the number of every finished iteration and the vectors as they then are.
        weighted: λ_u is λ times the number of the user's ratings (ALS-WR, Zhou et al. 2008), and so for items;
            else λ itself.
        unobserved_weight: α ≥ 0.
        device: where torch solves; None for the compiled loops.

    Returns:
        User vectors (U+1, D) and item vectors (I+1, D), float32; rows without ratings are zero. The same numbers
        for any number of threads.

    Raises:
        ValueError: when a user or item is outside 1..U or 1..I.
    """
    by_user = compress(users, items, residuals, user_count)
    by_item = compress(items, users, residuals, item_count)
    initial = np.random.default_rng(seed).standard_normal((item_count + 1, size), dtype=np.float32)
    if device is not None:
        return als_on_device(
            by_user,
            by_item,
            INITIAL_SCALE * initial,
            user_regularization=user_regularization,
            item_regularization=item_regularization,
            iterations=iterations,
            weighted=weighted,
            unobserved_weight=unobserved_weight,
            on_iteration=on_iteration,
            device=device,
        )
    item_vectors = padded(INITIAL_SCALE * initial)
    user_vectors = padded(np.zeros((user_count + 1, size), np.float32))
    for iteration in range(1, iterations + 1):
        _solve(by_user, item_vectors, user_vectors, size, user_regularization, weighted, unobserved_weight)
        _solve(by_item, user_vectors, item_vectors, size, item_regularization, weighted, unobserved_weight)
        if on_iteration:
            on_iteration(iteration, user_vectors[:, :size], item_vectors[:, :size])
    return user_vectors[:, :size].copy(), item_vectors[:, :size].copy()


def fold_in(
    rows: Csr, vectors: Floats, *, regularization: float, weighted: bool = True, unobserved_weight: float = 0.0
) -> Floats:
    """Solve one side for the other side's given vectors, for example new users for known items.

    Args:
        rows: the ratings (residuals) of R rows.
        vectors: (columns, D) float32 of the other side.
        regularization: λ, > 0.
        weighted: as for ``als``.
        unobserved_weight: as for ``als``.

    Returns:
        (R+1, D) float32; rows without ratings are zero.

    Raises:
        ValueError: when a column is outside the vectors' table.
    """
    require_rows("columns", rows.columns, len(vectors))
    solved = padded(np.zeros((len(rows.offsets) - 1, vectors.shape[1]), np.float32))
    _solve(rows, padded(vectors), solved, vectors.shape[1], regularization, weighted, unobserved_weight)
    return solved[:, : vectors.shape[1]].copy()


def leave_one_out_item_vectors(
    users: Integers,
    items: Integers,
    residuals: Floats,
    user_vectors: Floats,
    item_count: int,
    *,
    regularization: float,
    weighted: bool = True,
) -> Floats:
    """For every rating, its item's vector as if that one rating had not been there.

    For rating r of user u on item j: (A_j - p_u p_uᵀ)⁻¹ (b_j - r p_u) with b_j = Σ r p and A_j = Σ p pᵀ + λ I,
    or λ (n_j - 1) I when weighted; by the Sherman-Morrison identity, from one factorization an item. Training on these
    keeps an item with few raters from remembering the very rating that is to be predicted.

    Args:
        users: (N,) int32 in 1..U.
        items: (N,) int32 in 1..I.
        residuals: (N,) float32.
        user_vectors: (U+1, D) float32, held fixed.
        item_count: I.
        regularization: λ of items, > 0.
        weighted: as for ``als``.

    Returns:
        (N, D) float32, in the order of the ratings; zero where the rating was the item's only one.

    Raises:
        ValueError: when a user or item is outside its table.
    """
    require_rows("users", users, len(user_vectors))
    by_item = compress(items, users, residuals, item_count)
    vectors = padded(user_vectors)
    left_out = np.zeros((len(users), user_vectors.shape[1]), np.float32)
    for_row_chunks(
        by_item,
        lambda first, last: _leave_one_out(first, last, *by_item, vectors, regularization, weighted, left_out),
    )
    return left_out


def padded(vectors: Floats) -> Floats:
    """Return an aligned copy with zero columns up to a multiple of LANES."""
    rows, size = vectors.shape
    padded = aligned_zeros(rows, size + -size % LANES)
    padded[:, :size] = vectors
    return padded


def _solve(
    rows: Csr,
    vectors: Floats,
    solved: Floats,
    size: int,
    regularization: float,
    weighted: bool,
    unobserved_weight: float = 0.0,
) -> None:
    """Fill ``solved`` with every row's ridge solution; both tables padded."""
    base = unobserved(vectors, size, unobserved_weight)
    for_row_chunks(
        rows,
        lambda first, last: _solve_rows(
            first, last, rows.offsets, rows.columns, rows.values, vectors, base, regularization, weighted, solved
        ),
    )


def unobserved(vectors: Floats, size: int, weight: float) -> Doubles:
    """(D+1, padded D) what every row's system starts from: α Σ q qᵀ over all rows of the other side."""
    base = np.zeros((size + 1, vectors.shape[1]))
    if weight:
        with one_thread():  # the sum's order must not depend on the number of threads
            for start in range(0, len(vectors), GRAM_BLOCK):  # in blocks, so that doubles never need much memory
                block = vectors[start : start + GRAM_BLOCK].astype(np.float64)
                base[:size] += weight * (block[:, :size].T @ block)
    return base


@numba.njit(nogil=True, forceinline=True, fastmath=FAST)
def _add_scaled(system: Doubles, row: int, scale: float, source: Floats, source_row: int, start: int) -> None:
    """system[row] += scale * source[source_row], LANES coordinates from ``start`` on."""
    added = np.float64(scale) * widened(load(source, source_row, start, EIGHT))
    store(system, row, start, load(system, row, start, EIGHT) + added)


@numba.njit(nogil=True, forceinline=True)
def normal_equations(
    begin: int, end: int, columns: Integers, values: Floats, vectors: Floats, base: Doubles, ridge: float,
    system: Doubles,
) -> None:  # fmt: skip
    """system = base + [Σ x xᵀ + ridge I (upper triangle), Σ value x (row D)] over the ratings begin..end."""
    size, width = system.shape[0] - 1, system.shape[1]
    system[:] = base
    for i in range(size):
        system[i, i] += ridge
    for k in range(begin, end):
        column = columns[k]
        if k + AHEAD < len(columns):
            for line in range(0, width, LINE):
                prefetch(vectors, columns[k + AHEAD], line)
        for start in range(0, width, LANES):
            _add_scaled(system, size, values[k], vectors, column, start)
            for i in range(min(size, start + LANES)):
                _add_scaled(system, i, vectors[column, i], vectors, column, start)


@numba.njit(nogil=True, forceinline=True)
def factorize(system: Doubles) -> None:
    """Turn the matrix A of a system into D Lᵀ of A = L D Lᵀ, with 1/D on the diagonal: Cholesky without roots."""
    size, width = system.shape[0] - 1, system.shape[1]
    for k in range(size):
        system[k, k] = 1 / system[k, k]
        for i in range(k + 1, size):
            factor = system[k, i] * system[k, k]
            for start in range(i - i % LANES, width, LANES):
                _add_scaled(system, i, -factor, system, k, start)


@numba.njit(nogil=True, forceinline=True, fastmath=True)
def substitute(system: Doubles, b: Doubles, row: int) -> None:
    """Replace b[row] by the solution x of A x = b[row], from what ``factorize`` left in the system."""
    size = system.shape[0] - 1
    for k in range(size):
        scaled = b[row, k] * system[k, k]
        for i in range(k + 1, size):
            b[row, i] -= scaled * system[k, i]
    for k in range(size - 1, -1, -1):
        rest = b[row, k]
        for i in range(k + 1, size):
            rest -= system[k, i] * b[row, i]
        b[row, k] = rest * system[k, k]


@numba.njit(nogil=True, cache=True)
def _solve_rows(
    first: int,
    last: int,
    offsets: NDArray[np.int64],
    columns: Integers,
    values: Floats,
    vectors: Floats,
    base: Doubles,
    regularization: float,
    weighted: bool,
    solved: Floats,
) -> None:
    system = np.empty_like(base)
    size = len(base) - 1
    for row in range(first, last):
        begin, end = offsets[row], offsets[row + 1]
        if begin == end:
            solved[row] = 0
            continue
        ridge = regularization * (end - begin if weighted else 1)
        normal_equations(begin, end, columns, values, vectors, base, ridge, system)
        factorize(system)
        substitute(system, system, size)
        for i in range(size):
            solved[row, i] = system[size, i]


@numba.njit(nogil=True, cache=True)
def _leave_one_out(
    first: int,
    last: int,
    offsets: NDArray[np.int64],
    columns: Integers,
    values: Floats,
    order: Integers,
    vectors: Floats,
    regularization: float,
    weighted: bool,
    left_out: Floats,
) -> None:
    size, width = left_out.shape[1], vectors.shape[1]
    nothing = np.zeros((size + 1, width))
    system, z = np.empty_like(nothing), np.empty((1, width))
    for row in range(first, last):
        begin, end = offsets[row], offsets[row + 1]
        if end - begin < 2:
            continue
        ridge = regularization * (end - begin - 1 if weighted else 1)
        normal_equations(begin, end, columns, values, vectors, nothing, ridge, system)
        factorize(system)
        substitute(system, system, size)
        for k in range(begin, end):
            user, place = columns[k], order[k]
            z[0] = vectors[user]
            substitute(system, z, 0)
            predicted, leverage = 0.0, 0.0
            for i in range(size):
                predicted += vectors[user, i] * system[size, i]
                leverage += vectors[user, i] * z[0, i]
            step = (predicted - values[k]) / (1 - leverage)
            for i in range(size):
                left_out[place, i] = system[size, i] + step * z[0, i]
