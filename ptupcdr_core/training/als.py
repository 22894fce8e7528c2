"""Alternating least squares: exact ridge solutions, row by row.

Shapes: N ratings, D embedding size, U users, I items, R rows of either side. Row 0 of every table is padding.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ptupcdr_core.engines.base import Engine
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.kernels.csr import Csr, Floats, compress, for_row_chunks, require_rows
from ptupcdr_core.kernels.least_squares import (
    Integers,
    Ridge,
    leave_one_out,
    padded,
    padded_zeros,
    problem,
    workspace,
)
from ptupcdr_core.kernels.whitened import Whitening, shared_part, solve_by, solve_side

INITIAL_SCALE = 0.1  # small, so that the first solves are ridge solutions of small factors and not of noise


class Entries(NamedTuple):
    """The known entries of the matrix that is factorized.

    Args:
        users: (N,) int32 in 1..U.
        items: (N,) int32 in 1..I.
        values: (N,) float32: ratings minus the baseline that the factors are to improve on, or ones.
        user_count: U.
        item_count: I.
    """

    users: Integers
    items: Integers
    values: Floats
    user_count: int
    item_count: int


class Plan(NamedTuple):
    """How it is factorized.

    Args:
        size: D.
        users: penalty of the users' vectors.
        items: penalty of the items' vectors; both count unobserved pairs alike.
        iterations: each solves all users, then all items.
        seed: fixes the initial item vectors, N(0, 0.1²).
        users_last: solve all users once more at the end, for the final items: then ``fold_in`` gives them exactly.
    """

    size: int
    users: Ridge
    items: Ridge
    iterations: int
    seed: int
    users_last: bool = False


def als(
    entries: Entries,
    plan: Plan,
    *,
    on_iteration: Callable[[int, Floats, Floats], None] | None = None,
    engine: Engine = COMPILED,
) -> tuple[Floats, Floats]:
    """Factorize a matrix: minimize Σ (r - p·q)² + α Σ_all (p·q)² + Σ_u λ_u |p_u|² + Σ_j λ_j |q_j|².

    With α > 0 and ones for values this is implicit feedback (Hu et al. 2008, in the form of Rendle et al. 2022):
    every pair of a user and an item counts a little as "not taken". It costs one D×D matrix an iteration.

    Args:
        entries: what is known.
        plan: size, penalties, iterations.
        on_iteration: called after every iteration with its number, from 1, and the vectors.
        engine: solves.

    Returns:
        User vectors (U+1, D) and item vectors (I+1, D), float32; rows without entries are zero. The same numbers
        for any number of threads.

    Raises:
        ValueError: when a user or item is outside 1..U or 1..I.
    """
    users, items, values, user_count, item_count = entries
    [initial] = initial_vectors(item_count + 1, plan.size, plan.seed, block=item_count + 1)
    by_user, by_item = compress(users, items, values, user_count), compress(items, users, values, item_count)
    factors = engine.least_squares(by_user, by_item, initial, plan.users, plan.items)
    for iteration in range(1, plan.iterations + 1):
        factors.solve_users()
        factors.solve_items()
        if on_iteration:
            on_iteration(iteration, *factors.vectors())
    if plan.users_last:
        factors.solve_users()
    user_vectors, item_vectors = factors.vectors()
    return user_vectors.copy(), item_vectors.copy()


def initial_vectors(rows: int, size: int, seed: int, *, block: int) -> Iterator[Floats]:
    """The item vectors that training starts from, N(0, 0.1²), in blocks; the same numbers whatever the block size.

    Args:
        rows: I+1.
        size: D.
        seed: fixes them.
        block: rows at a time.

    Yields:
        (block, D) float32, the last one shorter.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, rows, block):
        yield INITIAL_SCALE * rng.standard_normal((min(block, rows - start), size), dtype=np.float32)


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
    if not weighted:
        return fold_in_whitened(rows, whitened(vectors, regularization, unobserved_weight))
    require_rows("columns", rows.columns, len(vectors))
    solved = padded_zeros(len(rows.offsets) - 1, vectors.shape[1])
    solve_side(rows, padded(vectors), solved, vectors.shape[1], Ridge(regularization, weighted, unobserved_weight))
    return solved[:, : vectors.shape[1]].copy()


def whitened(vectors: Floats, regularization: float, unobserved_weight: float = 0.0) -> Whitening:
    """The other side's vectors as ``fold_in_whitened`` takes them: to be kept where rows come a few at a time.

    Args:
        vectors: (columns, D) float32 of the other side.
        regularization: λ, > 0, not weighted.
        unobserved_weight: as for ``als``.
    """
    wide, size = padded(vectors), vectors.shape[1]
    return Whitening.of(wide, shared_part(wide, size, Ridge(regularization, False, unobserved_weight)), size)


def fold_in_whitened(rows: Csr, white: Whitening) -> Floats:
    """(R+1, D) float32, as ``fold_in``.

    Raises:
        ValueError: when a column is outside the vectors' table.
    """
    require_rows("columns", rows.columns, len(white.vectors))
    solved = padded_zeros(len(rows.offsets) - 1, white.size)
    solve_by(white, rows, solved)
    return solved[:, : white.size].copy()


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
    by_item, vectors = compress(items, users, residuals, item_count), padded(user_vectors)
    left_out = np.zeros((len(users), user_vectors.shape[1]), np.float32)
    side = problem(by_item, vectors, left_out.shape[1], Ridge(regularization, weighted))
    for_row_chunks(by_item, lambda first, last: leave_one_out(first, last, side, left_out, workspace(vectors.shape[1])))
    return left_out
