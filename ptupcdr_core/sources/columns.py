"""Finding the wanted columns among those a file has."""

from collections.abc import Sequence
from pathlib import Path

from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.layout import Layout


def wanted(layout: Layout, names: Sequence[str], path: Path) -> list[str | None]:
    """The names of user, item, value and timestamp, in this order; None for what nobody named or what is not read.

    Raises:
        SourceError: the file has no such column, or has it twice.
    """
    fields = layout.fields
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
