"""Factors of several domains side by side: each domain has coordinates of its own.

An item has factors in its domain's D coordinates and zeros in the others'. So a user's least-squares solution over all
items is the concatenation of each domain's own, and zero where the user has no ratings: code that folds people in, or
leaves a rating out, need not know that there are several domains.

Shapes: N ratings, U users, I items, D factors of a domain, B domains.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.engines.base import Engine
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.training.als import als, fold_in

Listener = Callable[[int, Floats, Floats], None]


def als_beside(
    users: Index,
    items: Index,
    residuals: Floats,
    user_count: int,
    blocks: Blocks,
    *,
    size: int,
    regularization: float,
    iterations: int,
    seed: int,
    unobserved_weight: float = 0.0,
    users_last: bool = False,
    on_iteration: Listener,
    engine: Engine,
) -> tuple[Floats, Floats]:
    """Factorize each domain's residuals; with one domain this is ``training.als.als``, unweighted.

    Args:
        users: (N,) in 1..U.
        items: (N,) in 1..I.
        residuals: (N,) float32.
        user_count: U.
        blocks: the items of B domains.
        size: D.
        regularization: of users and items.
        iterations: of each domain.
        seed: fixes the initial item vectors.
        unobserved_weight: as for ``als``.
        users_last: as for ``als``.
        on_iteration: as for ``als``; iterations are numbered on from one domain to the next.
        engine: solves.

    Returns:
        User vectors (U+1, B·D) and item vectors (I+1, B·D), float32.
    """

    def factors(own: NDArray[np.bool_] | slice, first: int, count: int, tell: Listener) -> tuple[Floats, Floats]:
        return als(
            users[own],
            items[own] - np.int32(first),
            residuals[own],
            user_count,
            count,
            size=size,
            user_regularization=regularization,
            item_regularization=regularization,
            iterations=iterations,
            seed=seed,
            weighted=False,
            unobserved_weight=unobserved_weight,
            users_last=users_last,
            on_iteration=tell,
            engine=engine,
        )

    if len(blocks) == 1:
        return factors(slice(None), 0, blocks.sizes[0], on_iteration)
    wide_users = np.zeros((user_count + 1, len(blocks) * size), np.float32)
    wide_items = np.zeros((sum(blocks.sizes) + 1, len(blocks) * size), np.float32)

    def fill(block: int, first: int, count: int) -> None:
        columns, rows = slice(block * size, (block + 1) * size), slice(first + 1, first + count + 1)

        def put(iteration: int, p: Floats, q: Floats) -> None:
            wide_users[:, columns], wide_items[rows, columns] = p, q[1:]
            on_iteration(block * iterations + iteration, wide_users, wide_items)

        p, q = factors(blocks.of_items[items] == block, first, count, put)
        wide_users[:, columns], wide_items[rows, columns] = p, q[1:]

    for block, (first, count) in enumerate(zip(blocks.starts, blocks.sizes, strict=True)):
        fill(block, first, count)
    if users_last:  # solved once more over all domains, so that folding in gives the same to the last bit
        rows = compress(users, items, residuals, user_count)
        wide_users = fold_in(
            rows, wide_items, regularization=regularization, weighted=False, unobserved_weight=unobserved_weight
        )
    return wide_users, wide_items
