"""CGSP: source items as a signal on the target items, filtered by a graph of both domains.

Lee et al., *Graph Signal Processing for Cross-Domain Recommendation* (arXiv 2407.12374). Only the paper's abstract was
available when this was written. It names a cross-domain similarity graph that combines a target-only and a
source-bridged similarity by one hyper-parameter, a graph filter, and a special signal for users of the source domain.
The rest is the usual form of graph filters for recommending (GF-CF, Shen et al., CIKM 2021), and may differ from the
paper's:

- both similarities are products of interaction matrices normalized by the roots of degrees, R̃ = D_U^-½ R D_I^-½:
  target-only P = R̃ᵀR̃ over all target users, source-bridged Q = B Bᵀ with B = R̃_tᵀ R̃_s over bridge users;
- the signal of a source user is s Bᵀ, the source items carried over to target items by bridge users;
- the filter is linear, x (α P + (1 - α) Q), or none (α = None); GF-CF's ideal low-pass filter is left out;
- scores are scaled back by the root of the target item's degree, or not: chosen, as α is, on validation users.

All of it is sparse matrices times blocks of users: the work is linear in the data.

Shapes: R users, S source items, T target items.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.kernels.sparse_product import sparse_product as product
from ptupcdr_core.methods.lists import Rank, Rows, Scores, chosen, per_column, powers
from ptupcdr_core.training.item_map import taken

ALPHAS = (None, 0.0, 0.5, 1.0)
"""Weights α of the target-only similarity; None: the signal is not filtered."""
SCALES = (0.0, 0.5)
"""Exponents of the target item's degree that scores are multiplied by."""


def cgsp(data: PairData, rows: Rows) -> Rank:
    """Filter the signals with each α and scale, and keep what ranks best for validation users."""
    people = np.unique(data.target_train.users)  # the rows of all others are empty
    everybody = taken(data.target_train, data.user_count, data.target_item_count)[people]
    alone = _normalized(everybody)
    source, target = _normalized(rows.source[rows.users]), _normalized(rows.target)
    by_alone, by_source, by_target = (matrix.T.tocsr() for matrix in (alone, source, target))

    def filtered(users: Index, alpha: float | None) -> Floats:
        """(T+1, R)."""
        signal = product(by_target, product(source, rows.source[users].T.toarray()))
        if alpha is None:
            return signal
        found = np.zeros_like(signal)
        if alpha > 0:
            found += np.float32(alpha) * product(by_alone, product(alone, signal))
        if alpha < 1:
            carried = product(source, product(by_source, product(target, signal)))
            found += np.float32(1 - alpha) * product(by_target, carried)
        return found

    def fits() -> Iterator[Scores]:
        for alpha in ALPHAS:
            for scale in SCALES:
                degrees = powers(per_column(everybody), scale)
                yield lambda users, alpha=alpha, degrees=degrees: filtered(users, alpha).T * degrees  # type: ignore[misc]

    return chosen(data, fits())


def _normalized(rows: sp.csr_matrix) -> sp.csr_matrix:
    """R̃ = D_U^-½ R D_I^-½, float32."""
    by_user = sp.diags(powers(np.asarray(rows.sum(1), np.float32).ravel(), -0.5))
    return (by_user @ rows @ sp.diags(powers(per_column(rows), -0.5))).tocsr().astype(np.float32)
