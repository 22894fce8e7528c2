"""The arrays that everything passes around; shape letters stand in the docstring of whoever takes them."""

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int32]
"""Indices of users or items, counted from 1; 0 is padding."""
Floats = NDArray[np.float32]
