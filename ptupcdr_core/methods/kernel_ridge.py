"""A ridge between rows: a user's target row from the source row alone, by regression on bridge users.

In its dual form, t = Tᵀ (K + λ I)⁻¹ k, it is a kernel ridge whose kernel is the product of source rows. Two kinds of
rows are tried: of length one, their items weighted by n^-b, which is best where people took much; and as they are,
which is best where they took little. Kind and λ are chosen on validation users.

Shapes: R users, S source items, T target items, M bridge users.
"""

from collections.abc import Iterator
from functools import partial

import scipy.sparse as sp

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.methods.lists import Rank, Rows, Scores, chosen
from ptupcdr_core.training.item_map import RowKind, RowRidge

USERS = 6_000
"""At most so many bridge users are used, every n-th: work grows with them and with the users who are ranked."""
EXPONENTS = (0.0, 0.25, 0.5)
"""b of rows that are scaled to length one."""
UNIT_PENALTIES = (10.0, 100.0, 1000.0)
"""λ for rows of length one."""
RAW_PENALTIES = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""λ for rows as they are, in items taken."""


def kernel_ridge(data: PairData, rows: Rows) -> Rank:
    """Fit all of the grid, and keep what ranks best for validation users."""
    return chosen(data, _fits(rows.thinned(USERS)))


def _fits(rows: Rows) -> Iterator[Scores]:
    penalties: dict[float | None, tuple[float, ...]] = dict.fromkeys(EXPONENTS, UNIT_PENALTIES)
    for exponent, tried in (penalties | {None: RAW_PENALTIES}).items():
        kind = RowKind(tried[0], exponent)
        source = kind.fitted_rows(rows.source, kind.weights(rows.source))
        for penalty in tried:
            yield partial(_scores, rows, source, RowRidge(source[rows.users], penalty))


def _scores(rows: Rows, source: sp.csr_matrix, ridge: RowRidge, users: Index) -> Floats:
    return ridge.scores(source[users], rows.target)
