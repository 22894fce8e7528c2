"""Sparse times dense: as numpy has it, for any number of right sides."""

import numpy as np
import pytest
import scipy.sparse as sp

from ptupcdr_core.kernels.sparse_product import sparse_product


@pytest.mark.parametrize("count", [0, 1, 15, 16, 47, 128, 300])
def test_every_right_side_is_multiplied(count: int) -> None:
    rng = np.random.default_rng(count)
    matrix = sp.random(70, 50, density=0.1, format="csr", dtype=np.float32, rng=rng)
    right = rng.normal(size=(count, 50)).astype(np.float32).T  # not contiguous
    np.testing.assert_allclose(sparse_product(matrix, right), matrix.toarray() @ right, rtol=1e-5, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="50 columns times 49 rows"):
        sparse_product(sp.csr_matrix((70, 50), dtype=np.float32), np.zeros((49, 3), np.float32))
