"""Safetensors files that are written and read piece by piece, so that no table in them has to fit in memory."""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

KINDS = {"I64": "<i8", "F64": "<f8", "F32": "<f4", "I32": "<i4", "U8": "|u1", "BOOL": "|b1"}
"""The format's names of types and numpy's, in the order in which the format's own library writes tensors."""
ROWS = 1 << 14
"""Rows of a table that are read at a time."""


@dataclass(frozen=True)
class Table:
    """A tensor of float32 that is made piece by piece.

    Args:
        shape: of the whole.
        pieces: makes them: the first row of each, and its rows (n, ...); in any order. Rows in no piece are zero.
    """

    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[tuple[int, NDArray[Any]]]]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return np.dtype(np.float32)


Tensor = NDArray[Any] | Table
Check = Callable[[str, NDArray[Any]], None]
"""Told a tensor's name and one of its pieces; refuses by raising."""


def write(path: Path, tensors: Mapping[str, Tensor], check: Check) -> None:
    """Write a file, byte for byte the one that safetensors' own library writes of the same numbers.

    Args:
        path: of the new file.
        tensors: by name; of the types in ``KINDS``.
        check: sees every piece before it is written.
    """
    codes = {np.dtype(code): kind for kind, code in KINDS.items()}
    order = [*KINDS]
    kinds = {name: codes[tensor.dtype.newbyteorder("<")] for name, tensor in tensors.items()}
    header: dict[str, dict[str, Any]] = {}
    end = 0
    for name in sorted(tensors, key=lambda name: (order.index(kinds[name]), name)):
        shape = tensors[name].shape
        begin, end = end, end + tensors[name].dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": kinds[name], "shape": [*shape], "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        start = file.tell()
        for name, entry in header.items():
            row = tensors[name].dtype.itemsize * math.prod(tensors[name].shape[1:])
            for first, rows in _pieces(tensors[name]):
                check(name, rows)
                file.seek(start + entry["data_offsets"][0] + first * row)
                file.write(rows.astype(KINDS[kinds[name]], copy=False).tobytes())
        file.truncate(start + end)


def _pieces(tensor: Tensor) -> Iterator[tuple[int, NDArray[Any]]]:
    if isinstance(tensor, Table):
        yield from tensor.pieces()
    elif tensor.ndim == 0:
        yield 0, tensor
    else:
        yield from ((first, tensor[first:last]) for first, last in ranges(len(tensor)))


@dataclass(frozen=True)
class TensorFile:
    """A file to read rows from.

    Args:
        file: open.
        header: type, shape and place of each tensor, by name.
        start: where the tensors begin.
    """

    file: BinaryIO
    header: dict[str, dict[str, Any]]
    start: int

    @classmethod
    def of(cls, file: BinaryIO) -> "TensorFile":
        """Read the header of an open file."""
        (length,) = struct.unpack("<Q", file.read(8))
        return cls(file, json.loads(file.read(length)), 8 + length)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self.header[name]["shape"])

    def rows(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Rows ``first`` to ``last`` - 1 of a tensor that has rows."""
        entry, width = self.header[name], self.shape(name)[1:]
        dtype, row = np.dtype(KINDS[entry["dtype"]]), math.prod(width)
        self.file.seek(self.start + entry["data_offsets"][0] + first * row * dtype.itemsize)
        return np.fromfile(self.file, dtype, (last - first) * row).reshape(-1, *width)

    def array(self, name: str, chosen: NDArray[np.integer] | None = None) -> NDArray[Any]:
        """A tensor in memory.

        Args:
            name: of the tensor.
            chosen: (R,) ascending, the rows to read; None: all.
        """
        shape, entry = self.shape(name), self.header[name]
        if chosen is None:
            self.file.seek(self.start + entry["data_offsets"][0])
            return np.fromfile(self.file, KINDS[entry["dtype"]], math.prod(shape)).reshape(shape)
        found = np.empty((len(chosen), *shape[1:]), KINDS[entry["dtype"]])
        for first, last in ranges(shape[0]):
            some = slice(*np.searchsorted(chosen, [first, last]))
            if some.start < some.stop:
                found[some] = self.rows(name, first, last)[chosen[some] - first]
        return found

    def tensor(self, name: str) -> Tensor:
        """A tensor as it can be written again; of a table, pieces are read when they are asked for."""
        shape, entry = self.shape(name), self.header[name]
        if shape and entry["dtype"] == "F32":
            return Table(shape, lambda: ((first, self.rows(name, first, last)) for first, last in ranges(shape[0])))
        return self.array(name)


def ranges(rows: int) -> Iterator[tuple[int, int]]:
    """Cut rows into ranges of ``ROWS``."""
    return ((first, min(first + ROWS, rows)) for first in range(0, rows, ROWS))
