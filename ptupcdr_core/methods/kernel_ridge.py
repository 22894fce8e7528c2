"""A ridge between rows: a user's target row from the source row alone, by regression on bridge users.

In its dual form, t = Tᵀ (K + λ I)⁻¹ k, it is a kernel ridge whose kernel is the product of source rows. Two kinds of
rows are tried: of length one, their items weighted by n^-b, which is best where people took much; and as they are,
which is best where they took little. Kind and λ are chosen on validation users.

Shapes: R users, S source items, T target items, M bridge users.
"""

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
    rows = rows.thinned(USERS)
    kinds = [RowKind(penalty, exponent) for exponent in EXPONENTS for penalty in UNIT_PENALTIES]
    kinds += [RowKind(penalty) for penalty in RAW_PENALTIES]
    return chosen(data, (_fit(rows, kind) for kind in kinds))


def _fit(rows: Rows, kind: RowKind) -> Scores:
    source = kind.fitted_rows(rows.source, kind.weights(rows.source))
    ridge = RowRidge(source[rows.users], kind.penalty)

    def scores(users: Index) -> Floats:
        return ridge.scores(source[users], rows.target)

    return scores
