"""What is known of a domain's items: titles, groups, and which may be recommended today.

Read from the catalog's item table whenever it is needed: it changes more often than ratings, and nothing is trained on
it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.digests import file_digests
from ptupcdr_core.sources.table_file import read_table, texts

_YES, _NO = ("1", "true", "t", "yes", "y"), ("", "0", "false", "f", "no", "n")
"""What the column ``eligible`` may say."""


@dataclass(frozen=True)
class Items:
    """What the catalog says of a domain's items.

    Args:
        titles: by item id.
        groups: by item id.
        links: addresses of their pages, by item id.
        images: addresses of their pictures, by item id.
        eligible: ids of the items that may be recommended today; None: all.
        most_of_group: at most this many items of one group in a list; None: any number.
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    eligible: frozenset[str] | None = None
    most_of_group: int | None = None

    def columns(self) -> dict[str, Mapping[str, str]]:
        """What is known of items, by the catalog's names for it."""
        return {"title": self.titles, "group": self.groups, "url": self.links, "image": self.images}

    def title(self, item: str) -> str:
        """An item's title, or its id where no title is known."""
        return self.titles.get(item, item)

    def page(self, item: str) -> str | None:
        """The address of an item's page; None where none is known that is safe for a browser."""
        return _web(self.links.get(item))

    def picture(self, item: str) -> str | None:
        """The address of an item's picture, likewise."""
        return _web(self.images.get(item))

    def known(self, items: Sequence[str]) -> float:
        """The share of these (N,) items that have a title; 1 if N is 0."""
        return sum(item in self.titles for item in items) / len(items) if items else 1.0


def read_items(domain: Domain) -> Items:
    """What the catalog's files say of a domain's items today; of a repeated id the last row counts.

    Raises:
        SourceError: a file is missing or damaged, or lacks a column; or nothing is eligible.
    """
    if domain.parts:
        return _together({part.name: read_items(part) for part in domain.parts})
    columns: dict[str, dict[str, str]] = {}
    eligible: frozenset[str] | None = None
    if domain.items is not None:
        path, names = domain.folder / Path(domain.items.path).expanduser(), domain.items.columns
        wanted = {kind: name for kind, name in names.model_dump().items() if name is not None}
        table, remedy = read_table(path, [*wanted.values()], domain.items.format), "Set items.columns of the domain"
        told = dict(zip(wanted, texts(table, [*wanted.values()], path, remedy), strict=True))
        columns = {kind: _by_id(told["item"], values) for kind, values in told.items()}
        if "eligible" in told:
            said = zip(told["item"], told["eligible"], strict=True)
            eligible = frozenset(item for row, (item, text) in enumerate(said) if item and _yes(text, path, row))
    if domain.eligible is not None:
        listed = read_item_ids(domain.folder / Path(domain.eligible.path).expanduser(), domain.eligible.column)
        eligible = listed if eligible is None else eligible & listed
    if eligible is not None and not eligible:
        raise SourceError(f"domain {domain.name}: no item is eligible today, so nothing could be recommended")
    return Items(
        titles=columns.get("title", {}),
        groups=columns.get("group", {}),
        links=columns.get("url", {}),
        images=columns.get("image", {}),
        eligible=eligible,
        most_of_group=None if domain.items is None else domain.items.most_of_group,
    )


def read_item_ids(path: Path, column: str = "item_id") -> frozenset[str]:
    """The ids in one column of a file.

    Raises:
        SourceError: the file is missing or damaged, or has no such column.
    """
    [ids] = texts(read_table(path, [column]), [column], path, f"A list of items has the column {column}")
    return frozenset(item for item in ids if item)


def items_fingerprint(domain: Domain, shortcuts: Path | None = None) -> str:
    """A hash that changes when the catalog's entry on items, or what one of their files holds, does; empty where there
    is none.

    Args:
        domain: the domain.
        shortcuts: a file that keeps digests, so that what was not touched is not read again (see ``file_digests``).
    """
    if domain.parts:
        return " ".join(items_fingerprint(part, shortcuts) for part in domain.parts).strip()
    named = [file for file in (domain.items, domain.eligible) if file is not None]
    paths = [domain.folder / Path(file.path).expanduser() for file in named]
    digests = file_digests([path for path in paths if path.is_file()], shortcuts)
    entries = [file.model_dump(mode="json") for file in named]
    return hashlib.sha256(json.dumps([entries, digests]).encode()).hexdigest() if named else ""


def may_be_recommended(items: pa.Array, catalog: Items, exclude: frozenset[str] = frozenset()) -> pa.Array:
    """Those of (T,) item ids that are eligible and not excluded.

    Raises:
        SourceError: none is left.
    """
    kept = [
        item for item in items.to_pylist()
        if item not in exclude and (catalog.eligible is None or item in catalog.eligible)
    ]  # fmt: skip
    if not kept:
        raise SourceError(
            f"none of the {len(items)} target items may be recommended: they are excluded or not eligible"
        )
    return pa.array(kept, pa.string())


def _together(parts: Mapping[str, Items]) -> Items:
    """Items of several domains, by the ids that they have together (``sql/split.sql``)."""
    told = {name: [own.columns()[name] for own in parts.values()] for name in Items().columns()}
    title, group, url, image = (
        {f"{part}:{item}": text for part, own in zip(parts, columns, strict=True) for item, text in own.items()}
        for columns in told.values()
    )
    return Items(title, group, url, image)


def _web(address: str | None) -> str | None:
    """An http(s) address; None for others, such as ``javascript:…``, which must not stand on a page."""
    try:
        parts = urlsplit((address or "").strip())
    except ValueError:  # brackets that are not an IPv6 address
        return None
    return parts.geturl() if parts.scheme in ("http", "https") and parts.netloc else None


def _by_id(ids: Sequence[str | None], values: Sequence[str | None]) -> dict[str, str]:
    return {item: value for item, value in zip(ids, values, strict=True) if item and value}


def _yes(text: str | None, path: Path, row: int) -> bool:
    said = (text or "").strip().lower()
    if said not in (*_YES, *_NO):
        raise SourceError(f"{path}, row {row + 1}: eligible: expected one of {', '.join(_YES + _NO[1:])}, got {text!r}")
    return said in _YES
