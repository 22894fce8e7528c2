"""Finding the wanted columns among those a file has."""

from collections.abc import Sequence
from pathlib import Path

from ptupcdr_core.catalog import Columns
from ptupcdr_core.errors import SourceError


def wanted(columns: Columns, names: Sequence[str], path: Path) -> list[str | None]:
    """The names of user, item, rating and timestamp, in this order; None for a timestamp nobody named.

    Raises:
        SourceError: the file has no such column, or has it twice.
    """
    fields = [columns.user, columns.item, columns.rating, columns.timestamp]
    missing = [name for name in fields if name and name not in names]
    if missing:
        raise SourceError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}. "
            "Set columns of the domain in the catalog"
        )
    twice = [name for name in fields if name and list(names).count(name) > 1]
    if twice:
        raise SourceError(f"{path}: more than one column {', '.join(twice)}; rename one in the file")
    return fields
