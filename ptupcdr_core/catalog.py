"""The catalog: which domains there are, where their ratings lie, and which pairs are bridged."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ptupcdr_core.addresses import shown
from ptupcdr_core.errors import CatalogError
from ptupcdr_core.extensions import added_engines, added_formats

DATABASES = ("duckdb", "sqlite", "postgres")
FORMATS = ("demo", "csv", "tsv", "parquet", "jsonl", *DATABASES, "amazon-2014", "amazon-2018", "amazon-2023")

TOGETHER = "+"
"""Joins the names of several source domains of one pair."""
EMBEDDED = "duckdb"
"""The engine of a domain that names none."""


class Columns(BaseModel):
    """The names of a file's columns for a rating or an event; without ``timestamp``, time is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(default="user_id", min_length=1)
    item: str = Field(default="item_id", min_length=1)
    rating: str = Field(default="rating", min_length=1)
    weight: str | None = Field(default=None, min_length=1, description="of an event: a quantity, or seconds")
    timestamp: str | None = Field(default=None, min_length=1)


class ItemColumns(BaseModel):
    """The names of an item table's columns; all but the id may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: str = Field(default="item_id", min_length=1)
    title: str | None = Field(default=None, min_length=1)
    image: str | None = Field(default=None, min_length=1)
    url: str | None = Field(default=None, min_length=1)
    group: str | None = Field(default=None, min_length=1, description="such as a genre or a brand")
    eligible: str | None = Field(default=None, min_length=1, description="whether it may be recommended today")


class ItemTable(BaseModel):
    """A table of a domain's items: titles, pictures, pages, groups, and which may be recommended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    format: Literal["csv", "tsv", "parquet", "jsonl"] | None = Field(default=None, description="None: by the name")
    columns: ItemColumns = ItemColumns(title="title")
    most_of_group: int | None = Field(
        default=None, ge=1, description="at most this many items of one group in a list of recommendations"
    )


class EligibleItems(BaseModel):
    """A list of the items that may be recommended today."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    column: str = Field(default="item_id", min_length=1)


class PeopleTable(BaseModel):
    """A table that says which ids of several domains are one person: a row a person, a column a domain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    format: Literal["csv", "tsv", "parquet", "jsonl"] | None = Field(default=None, description="None: by the name")
    columns: dict[str, str] = Field(min_length=2, description="by domain, the table's column of its ids")


class Domain(BaseModel):
    """One domain's ratings or events: where they lie and how they are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    format: str = Field(description="one of FORMATS, or one that an installed package adds (see extensions)")
    path: str | None = Field(
        default=None, min_length=1, repr=False, description="file, glob, or http(s) or s3 address; it may hold secrets"
    )
    table: str | None = Field(default=None, min_length=1, description="table of a database")
    columns: Columns = Columns(timestamp="timestamp")
    feedback: Literal["explicit", "implicit"] = Field(
        default="explicit", description="explicit: ratings with stars; implicit: events (bought, played), without any"
    )
    scale: tuple[float, float] = Field(default=(1, 5), description="lowest and highest rating there can be")
    least_weight: float = Field(default=0, description="an event with a lower weight does not count")
    items: ItemTable | None = Field(default=None, description="titles and more of the items")
    eligible: EligibleItems | None = Field(default=None, description="the only items that may be recommended today")
    people: PeopleTable | None = Field(
        default=None, description="the catalog's table [people], if this domain is in it"
    )
    settled_seconds: float = Field(
        default=0, ge=0, description="a file changed within so many seconds is still being written, and left for later"
    )
    marker: str | None = Field(
        default=None, min_length=1, description="file, such as _SUCCESS, without which a folder is left for later"
    )
    engine: str = Field(
        default=EMBEDDED, description="what cleans and splits its ratings: duckdb, or spark past one machine"
    )
    folder: Path = Field(default=Path(), description="the catalog's; relative paths start there")
    parts: tuple["Domain", ...] = Field(
        default=(), description="the domains that make one source (see Catalog.domain); empty for an ordinary one"
    )

    @field_validator("format")
    @classmethod
    def _can_be_read(cls, name: str) -> str:
        known = [*FORMATS, *sorted(added_formats())]
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return name

    @field_validator("engine")
    @classmethod
    def _is_there(cls, name: str) -> str:
        known = [EMBEDDED, *sorted(added_engines())]
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return name

    @property
    def shown_path(self) -> str:
        """The path without the secrets that an address may hold; empty for generated ratings."""
        return shown(self.path or "")

    def entry(self) -> dict[str, Any]:
        """The part of its catalog entry that decides how ratings are read, as JSON values without secrets; tables and
        pages keep it. What concerns items, and the engine, change no rating and are left out.
        """
        hidden = {"path": self.shown_path} if self.path else {}
        return self.model_dump(mode="json", exclude={"folder", "items", "eligible", "engine", "parts"}) | hidden

    @property
    def each(self) -> "tuple[Domain, ...]":
        """Its parts, or else only itself."""
        return self.parts or (self,)

    @property
    def stars(self) -> tuple[float, float] | None:
        """Lowest and highest rating; None where there are events and no stars."""
        return self.scale if self.feedback == "explicit" else None


class Pair(BaseModel):
    """A source domain whose tastes are carried over to a target domain.

    Several source domains, ``["books", "music"]`` in a catalog, act as one, which is called ``books+music``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str

    @classmethod
    def of(cls, key: str) -> Self:
        """The pair of a partition key."""
        source, target = key.split("__", 1)
        return cls(source=source, target=target)

    @property
    def key(self) -> str:
        """The partition key, source first."""
        return f"{self.source}__{self.target}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the source domains, one or several."""
        return tuple(self.source.split(TOGETHER))

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of all its domains, the target last."""
        return (*self.sources, self.target)

    @property
    def alone(self) -> "tuple[Pair, ...]":
        """With several sources, a pair for each of them alone; otherwise none."""
        several = len(self.sources) > 1
        return tuple(Pair(source=source, target=self.target) for source in self.sources if several)


class Catalog(BaseModel):
    """All domains and pairs of one catalog file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    domains: tuple[Domain, ...]
    pairs: tuple[Pair, ...]

    def domain(self, name: str) -> Domain:
        """The domain of that name; for names joined by ``+``, one domain made of all of them.

        Raises:
            CatalogError: there is none.
        """
        if TOGETHER in name:
            parts = tuple(self.domain(part) for part in name.split(TOGETHER))
            own = {"name": name, "path": None, "items": None, "eligible": None, "parts": parts}
            return parts[0].model_copy(update=own)
        for domain in self.domains:
            if domain.name == name:
                return domain
        raise CatalogError(f"{self.path}: no domain {name!r}; there are {', '.join(d.name for d in self.domains)}")

    def pair(self, key: str) -> Pair:
        """The pair of that key, for example ``"books__movies"``.

        Raises:
            CatalogError: there is none.
        """
        for pair in self.pairs:
            if pair.key == key:
                return pair
        raise CatalogError(f"{self.path}: no pair {key!r}; there are {', '.join(p.key for p in self.pairs)}")

    def pairs_of(self, domain: str) -> tuple[Pair, ...]:
        """The pairs that use a domain on either side."""
        return tuple(pair for pair in self.pairs if domain in pair.domains)
