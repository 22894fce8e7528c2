"""A source format of one's own: MovieLens' ``ratings.dat``, one ``user::item::rating::seconds`` per line."""

from pathlib import Path

import pyarrow as pa

COLUMNS = ("user_id", "item_id", "rating", "timestamp")


def read(path: Path) -> pa.Table:
    """All lines, with their values as text: cleaning checks them, and counts the rows that it rejects.

    Raises:
        ValueError: a line does not have four fields.
    """
    rows = [line.split("::") for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows, 1):
        if len(row) != len(COLUMNS):
            raise ValueError(f"line {number}: expected user::item::rating::seconds")
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(COLUMNS, columns, strict=True)})
