"""Array types that everything uses; their shapes are in the docstrings of what takes or returns them."""

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int32]
"""Indices of users or items, counted from 1; 0 is padding."""
Floats = NDArray[np.float32]
