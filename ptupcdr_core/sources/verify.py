"""A second look at a text file, without DuckDB: is it whole, and how many lines has it?

DuckDB decompresses without testing checksums, and takes a zstd stream that breaks off for one that ends. Ratings would
be missing or wrong and nobody would know. So the file is read once more, beside DuckDB, by a reader that does test.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ptupcdr_core.errors import SourceError

CHUNK = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Physical:
    """What a text file is made of: its lines, whatever they say, and its quotation marks (0 when not counted)."""

    lines: int
    quotes: int


def compression_of(path: Path) -> str | None:
    """``"gzip"``, ``"zstd"`` or None, by the file's first bytes: names lie, bytes do not."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def beginning(path: Path) -> bytes:
    """The first bytes of a text file, unpacked.

    Raises:
        SourceError: its compressed stream is damaged from the start.
    """
    try:
        with pa.input_stream(str(path), compression=compression_of(path)) as stream:
            return bytes(stream.read(CHUNK))
    except OSError as error:
        raise SourceError(f"{path} is damaged ({error}): get it anew") from error


def physical(path: Path, *, with_quotes: bool) -> Physical:
    """Read a text file to its end and count; quotes only where they are asked for, since JSON is full of them.

    Raises:
        SourceError: its compressed stream is damaged or breaks off.
    """
    lines = quotes = 0
    last = b"\n"
    try:
        with pa.input_stream(str(path), compression=compression_of(path)) as stream:
            while chunk := stream.read(CHUNK):
                lines += chunk.count(b"\n")
                quotes += chunk.count(b'"') if with_quotes else 0
                last = chunk[-1:]
    except OSError as error:
        raise SourceError(f"{path} is damaged ({error}): get it anew") from error
    return Physical(lines + (last != b"\n"), quotes)
