"""Alternating least squares in torch: the systems of many rows at once, in blocks of bounded size.

The sums of popular rows are long and those of others short. So ratings are cut into pieces, each of one row; the
products of all pieces are one batched multiplication, and are added to their rows' systems. As in the compiled loops,
systems are made and solved in float64 and vectors kept in float32.

Shapes: N ratings, D embedding size, R rows of either side, C rows of the other side, K rows that have ratings, P
pieces. Row 0 of every table is padding.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ptupcdr_core.engines.torch_adam import on_device, on_host
from ptupcdr_core.kernels.csr import Csr, Floats
from ptupcdr_core.kernels.least_squares import Ridge

PIECE = 16
"""Ratings of a piece: most rows are one piece, and popular rows need a sixteenth as many products as they have
ratings."""
ELEMENTS = 1 << 25
"""Numbers in the systems of a block, and in the products of a part of its pieces: 256 MB each."""
BATCH = 65_535
"""Matrices at a time: CUDA's grids are no larger, and not every batched solver splits larger batches by itself
(github.com/pytorch/pytorch/pull/192612)."""


class LeastSquaresOnDevice:
    """See ``LeastSquares``; arguments as for ``Engine.least_squares``, and the device of all tensors."""

    def __init__(
        self, by_user: Csr, by_item: Csr, item_vectors: Floats, users: Ridge, items: Ridge, device: torch.device
    ) -> None:
        """Upload ratings and vectors."""
        size, self._ridge = item_vectors.shape[1], (users, items)
        self._by_user, self._by_item = RowsOnDevice(by_user, size, device), RowsOnDevice(by_item, size, device)
        self._items = on_device(item_vectors, device)
        self._users = self._items.new_zeros(len(by_user.offsets) - 1, size)

    def solve_users(self) -> None:
        """See ``LeastSquares``."""
        self._users = self._by_user.solve(self._items, self._ridge[0])

    def solve_items(self) -> None:
        """See ``LeastSquares``."""
        self._items = self._by_item.solve(self._users, self._ridge[1])

    def vectors(self) -> tuple[Floats, Floats]:
        """See ``LeastSquares``; waits for what is still to be computed."""
        return on_host(self._users), on_host(self._items)


class RowsOnDevice:
    """One side's ratings on a device, cut into pieces.

    Args:
        rows: the ratings by row.
        size: D.
        device: of all tensors.
    """

    def __init__(self, rows: Csr, size: int, device: torch.device) -> None:
        """Cut the ratings and upload them."""
        counts = np.diff(rows.offsets)
        rated = np.flatnonzero(counts)
        pieces = -(-counts[rated] // PIECE)
        owner = np.repeat(np.arange(len(rated)), pieces)
        self.piece_ends = np.cumsum(pieces)
        begin = rows.offsets[rated[owner]] + PIECE * (np.arange(len(owner)) - (self.piece_ends - pieces)[owner])
        length = np.minimum(rows.offsets[rated[owner] + 1] - begin, PIECE)
        self.size, self.row_count = size, len(counts)
        self.rated, self.counts = on_device(rated, device), on_device(counts[rated], device)
        self.owner, self.begin, self.length = (on_device(array, device) for array in (owner, begin, length))
        self.columns, self.values = on_device(rows.columns, device), on_device(rows.values, device)

    def solve(self, vectors: Tensor, ridge: Ridge) -> Tensor:
        """Return (R+1, D) float32 ridge solutions for the other side's vectors (C, D); zeros without ratings."""
        solved = vectors.new_zeros(self.row_count, self.size)
        base = _unobserved(vectors, ridge.unobserved_weight)
        penalties = ridge.regularization * (self.counts if ridge.weighted else torch.ones_like(self.counts)).double()
        for rows, parts in self._blocks():
            left = base.repeat(rows.stop - rows.start, 1, 1)
            left.diagonal(dim1=1, dim2=2).add_(penalties[rows, None])
            right = left.new_zeros(*left.shape[:2], 1)
            for part in parts:
                x, values = self._gather(vectors, part)
                owner = self.owner[part] - rows.start
                left.index_add_(0, owner, x.mT @ x)
                right.index_add_(0, owner, x.mT @ values)
            # Not linalg.cholesky, which waits to look for failures: λ > 0 keeps all systems positive definite.
            factor, _ = torch.linalg.cholesky_ex(left)
            solved.index_copy_(0, self.rated[rows], torch.cholesky_solve(right, factor).squeeze(2).float())
        return solved

    def _gather(self, vectors: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """(P, PIECE, D) float64 the vectors of some pieces, zeros after a piece's end; (P, PIECE, 1) float64 values."""
        nth = torch.arange(PIECE, device=vectors.device)
        places = (self.begin[part, None] + nth).clamp(max=len(self.columns) - 1)
        x = vectors.index_select(0, self.columns[places].flatten()).view(*places.shape, self.size)
        x = x * (nth < self.length[part, None]).unsqueeze(2)
        return x.double(), self.values[places].double().unsqueeze(2)

    def _blocks(self) -> Iterator[tuple[slice, list[slice]]]:
        """Slices of the K rows, each with slices of their pieces; computed on the host, without waiting for the
        device."""
        for rows in _slices(0, len(self.piece_ends), self.size**2):
            begin = int(self.piece_ends[rows.start - 1]) if rows.start else 0
            end = int(self.piece_ends[rows.stop - 1])
            yield rows, list(_slices(begin, end, self.size**2 + 2 * PIECE * self.size))


def _unobserved(vectors: Tensor, weight: float) -> Tensor:
    """(D, D) float64 what every system starts from: α Σ q qᵀ over all rows of the other side."""
    size = vectors.shape[1]
    base = torch.zeros(size, size, dtype=torch.float64, device=vectors.device)
    if weight:
        for rows in _slices(0, len(vectors), size):
            block = vectors[rows].double()
            base.addmm_(block.mT, block, alpha=weight)
    return base


def _slices(begin: int, end: int, width: int) -> Iterator[slice]:
    """begin..end in slices of at most BATCH places, and at most ELEMENTS numbers if each place has ``width`` of
    them."""
    step = max(1, min(BATCH, ELEMENTS // width))
    for start in range(begin, end, step):
        yield slice(start, min(start + step, end))
