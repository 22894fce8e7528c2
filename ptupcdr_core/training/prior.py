"""The prior of calibrated bridges: the strongest simple baseline, which a bridge then corrects.

Shapes: U users, N training rows, X coordinates of a source vector, Y coordinates of a target vector, of each the first
D are factors.
"""

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.models.bridge_rows import BridgeRows, Prior
from ptupcdr_core.training.source_offset import fit_line

FACTOR_SCALES = (1.0, 0.1, 0.001)
"""How large entries between factors may be, relative to those between biases, offsets and counts. Where ratings are
few, factors are mostly noise, and one penalty for all entries would suppress the others too."""

NEGLIGIBLE = 0.001
"""How large entries that should not count may be."""
RATERS = 2
"""Place after the factors of what an item's raters add to its mean."""
PRODUCTS = ((0, 1), (0, 5), (0, 6), (2, 1), (2, 5), (4, 1), (4, 6), (7, 1), (8, 1))
"""Places after the factors, of a user's coordinate and an item's, whose products count among the effects: the offset
with how well liked, how widely rated and how well known an item is; the person's spread with the first two; how much is
known of the person with the first and the last; tops and agreement with how well liked it is."""


def calibrated_prior(source_vectors: Floats, rows: BridgeRows, sizes: tuple[int, int], left_in: float) -> Prior:
    """The strongest simple baseline as a bridge: slope of the source offset and intercept by least squares over the
    rows, and the raters' offsets left in the items' means if that is nearer to the rows (``training.source_offset``).

    Args:
        source_vectors: (U+1, X).
        rows: N, with target vectors (M, Y).
        sizes: D of the source and of the target.
        left_in: the entry that leaves them in, a constant times what an item's raters add to its mean.
    """
    own, size = sizes
    vectors = rows.vectors[rows.pick]
    offsets, raters = source_vectors[rows.users, own], vectors[:, size + RATERS]
    bridge = np.zeros((source_vectors.shape[1], rows.vectors.shape[1]), np.float32)
    fits = [(fit_line(offsets, rows.wanted - entry * raters), entry) for entry in (0.0, left_in)]
    line, bridge[own + 1, size + RATERS] = min(fits, key=lambda fit: fit[0].error)
    bridge[own : own + 2, size] = line.slope, line.intercept
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
