"""The prior of calibrated bridges: the best prediction by a few numbers, which a bridge then corrects.

Shapes: U users, N training rows, X coordinates of a source vector, Y coordinates of a target vector, of each the first
D are factors.
"""

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.models.bridge_rows import BridgeRows, Prior

FACTOR_SCALES = (1.0, 0.1, 0.001)
"""How large entries between factors may be, relative to those between biases, offsets and counts. Where ratings are
few, factors are mostly noise, and one penalty for all entries would suppress the others too."""

NEGLIGIBLE = 0.001
"""How large entries that should not count may be."""
AS_SUCH = 5
"""How many of an item's coordinates the prior multiplies by a constant: a constant, bias, and three about its
raters."""
PRODUCTS = ((0, 1), (0, 5), (0, 6), (2, 1), (2, 5), (4, 1), (4, 6))
"""Places after the factors, of a user's coordinate and an item's, whose products count among the effects: the offset
with how well liked, how widely rated and how well known an item is; the person's spread with the first two; how much is
known of the person with the first and the last."""
PRIOR_PENALTY = 10.0
"""Ridge penalty of the prior's six numbers: negligible with thousands of rows, cautious with a hundred."""


def calibrated_prior(source_vectors: Floats, rows: BridgeRows, sizes: tuple[int, int]) -> Prior:
    """The best prediction by a few numbers, by least squares over the rows: the slope of the source offset, an
    intercept, and weights of the item's own coordinates for people like these.

    Args:
        source_vectors: (U+1, X).
        rows: N, with target vectors (M, Y).
        sizes: D of the source and of the target.
    """
    own, size = sizes
    vectors = rows.vectors[rows.pick]
    offset, items = source_vectors[rows.users, own, None] * vectors[:, size, None], vectors[:, size : size + AS_SUCH]
    read = np.concatenate([offset, items], axis=1).astype(np.float64)
    # Summed by numpy: the last bits of a matrix product depend on the number of threads.
    left = np.einsum("nc,nd->cd", read, read) + PRIOR_PENALTY * np.eye(read.shape[1])
    slope, *of_items = np.linalg.solve(left, np.einsum("nc,n->c", read, rows.wanted))
    bridge = np.zeros((source_vectors.shape[1], rows.vectors.shape[1]), np.float32)
    bridge[own, size] = slope
    bridge[own + 1, size : size + AS_SUCH] = of_items
    return Prior(bridge, _expected(sizes, *bridge.shape), _effects(sizes, *bridge.shape), level=(own + 1, size))


def _effects(sizes: tuple[int, int], source: int, target: int) -> Floats:
    """How large entries (source, target) may be if only effects count: each coordinate but the factors times a
    constant, and ``PRODUCTS``."""
    effects, (own, size) = np.full((source, target), NEGLIGIBLE, np.float32), sizes
    effects[own:, size] = effects[own + 1, size:] = 1
    for user, item in PRODUCTS:
        effects[own + user, size + item] = 1
    return effects


def _expected(sizes: tuple[int, int], source: int, target: int) -> tuple[Floats, ...]:
    """How large entries (source, target) may be: by ``FACTOR_SCALES``; and if only the person's own coordinates count,
    a few entries that can be estimated better than all."""

    own, size = sizes

    def block(coordinates: int, size: int, tau: float) -> Floats:
        return np.where(np.arange(coordinates) < size, tau, 1).astype(np.float32)

    constant = np.where(np.arange(target) == size, 1, NEGLIGIBLE).astype(np.float32)
    blocks = [np.outer(block(source, own, tau), block(target, size, tau)) for tau in FACTOR_SCALES]
    return *blocks, np.outer(block(source, own, NEGLIGIBLE), constant)
