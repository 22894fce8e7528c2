"""Factors of several domains side by side: each domain has coordinates of its own.

An item has factors in its domain's D coordinates and zeros in the others'. So a user's least-squares solution over all
items is the concatenation of each domain's own, and zero where the user has no ratings: code that folds people in, or
leaves a rating out, need not know that there are several domains.

Shapes: N ratings, U users, I items, D factors of a domain, B domains.
"""

from collections.abc import Callable

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.engines.base import Engine
from ptupcdr_core.kernels.csr import compress
from ptupcdr_core.training.als import Entries, Plan, als, fold_in

Listener = Callable[[int, Floats, Floats], None]


def als_beside(
    entries: Entries, blocks: Blocks, plan: Plan, *, on_iteration: Listener, engine: Engine
) -> tuple[Floats, Floats]:
    """Factorize each domain's entries; with one domain this is ``training.als.als``.

    Args:
        entries: of all domains.
        blocks: the items of B domains.
        plan: of each domain; D is its size.
        on_iteration: as for ``als``; iterations are numbered on from one domain to the next.
        engine: solves.

    Returns:
        User vectors (U+1, B·D) and item vectors (I+1, B·D), float32.
    """
    if len(blocks) == 1:
        return als(entries, plan, on_iteration=on_iteration, engine=engine)
    users, items, values, user_count, item_count = entries
    size, iterations = plan.size, plan.iterations
    wide_users = np.zeros((user_count + 1, len(blocks) * size), np.float32)
    wide_items = np.zeros((item_count + 1, len(blocks) * size), np.float32)

    def fill(block: int, first: int, count: int) -> None:
        columns, rows = slice(block * size, (block + 1) * size), slice(first + 1, first + count + 1)

        def put(iteration: int, p: Floats, q: Floats) -> None:
            wide_users[:, columns], wide_items[rows, columns] = p, q[1:]
            on_iteration(block * iterations + iteration, wide_users, wide_items)

        of_block = blocks.of_items[items] == block
        own = Entries(users[of_block], items[of_block] - np.int32(first), values[of_block], user_count, count)
        p, q = als(own, plan, on_iteration=put, engine=engine)
        wide_users[:, columns], wide_items[rows, columns] = p, q[1:]

    for block, (first, count) in enumerate(zip(blocks.starts, blocks.sizes, strict=True)):
        fill(block, first, count)
    if plan.users_last:  # solved once more over all domains, so that folding in gives the same to the last bit
        wide_users = fold_in(compress(users, items, values, user_count), wide_items, **plan.users._asdict())
    return wide_users, wide_items
