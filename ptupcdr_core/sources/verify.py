"""A second look at a file, without DuckDB: is it whole, and how many lines or rows does it have?

DuckDB decompresses without testing checksums, and takes a truncated zstd stream for a complete one. Ratings could be
missing or wrong without a sign. So the file is read once more, while DuckDB reads it, by a reader that does test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.limits import UNPACKED, Limits

CHUNK = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class Physical:
    """Counts of a text file: its lines, whatever they hold, and its quotation marks (0 when not counted)."""

    lines: int
    quotes: int


def compression_of(path: Path) -> str | None:
    """``"gzip"``, ``"zstd"`` or None, by the file's first bytes, as its name may be wrong."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def is_parquet(path: Path) -> bool:
    """Whether a file is a Parquet file, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def is_database(path: Path) -> bool:
    """Whether a file is one of DuckDB or of SQLite, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(16)
    return start[8:12] == b"DUCK" or start == b"SQLite format 3\0"


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
    """Read a text file to its end and count; quotes only on request, since JSON is full of them.

    Raises:
        SourceError: its compressed stream is damaged or truncated, or holds more than is allowed.
    """
    lines = quotes = size = 0
    last = b"\n"
    limit = Limits.from_environment().unpacked
    packed = compression_of(path)
    try:
        with pa.input_stream(str(path), compression=packed) as stream:
            while chunk := stream.read(CHUNK):
                lines += chunk.count(b"\n")
                quotes += chunk.count(b'"') if with_quotes else 0
                last = chunk[-1:]
                size += len(chunk)
                if packed and size > limit:
                    raise _too_much(path, limit)
    except OSError as error:
        raise SourceError(f"{path} is damaged ({error}): get it anew") from error
    return Physical(lines + (last != b"\n"), quotes)


def count_parquet(path: Path, columns: Sequence[str]) -> int | None:
    """Count the rows of a Parquet file, reading the named columns and testing the checksum of each page that has one.

    DuckDB does not test them, and takes a flipped bit for a value. Most writers write checksums only on request
    (pyarrow: ``write_page_checksum=True``); without them, damage cannot be seen.

    Returns:
        The number of rows; None where pyarrow cannot read the file's content, though DuckDB may.

    Raises:
        SourceError: it is damaged, or holds more than is allowed.
    """
    rows = size = 0
    limit = Limits.from_environment().unpacked
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            groups = range(file.metadata.num_row_groups)
            announced = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            # Any number of equal values takes next to no room in a page, so a row counts as at least one byte.
            if max(announced, file.metadata.num_rows) > limit:
                raise _too_much(path, limit)
            for batch in file.iter_batches(columns=present):
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if size > limit:
                    raise _too_much(path, limit)
            return rows
    except pa.ArrowNotImplementedError:
        return None
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:  # UnicodeDecodeError: a damaged column name
        raise SourceError(f"{path} is damaged ({error}): get it anew") from error


def _too_much(path: Path, limit: int) -> SourceError:
    return SourceError(
        f"{path}: unpacks to more than {limit} bytes from {path.stat().st_size}; raise {UNPACKED} if that is right, "
        "else get the file anew from somebody you trust"
    )
