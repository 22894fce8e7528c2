"""The catalog: which domains there are, where their ratings lie, and which pairs are bridged."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ptupcdr_core.errors import CatalogError

Format = Literal["demo", "csv", "tsv", "parquet", "jsonl", "duckdb", "amazon-2014", "amazon-2018", "amazon-2023"]


class Columns(BaseModel):
    """What a file calls the four things a rating is made of; ``timestamp`` may be missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = "user_id"
    item: str = "item_id"
    rating: str = "rating"
    timestamp: str | None = None


class Domain(BaseModel):
    """One domain's ratings: where they lie and how they are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    format: Format
    path: str | None = None
    table: str | None = None
    columns: Columns = Columns()
    scale: tuple[float, float] = (1, 5)
    folder: Path = Field(default=Path(), description="of the catalog: relative paths start there")


class Pair(BaseModel):
    """A source domain whose tastes are carried over to a target domain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str

    @property
    def key(self) -> str:
        """The partition key, source first."""
        return f"{self.source}__{self.target}"


class Catalog(BaseModel):
    """All domains and pairs of one catalog file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    domains: tuple[Domain, ...]
    pairs: tuple[Pair, ...]

    def domain(self, name: str) -> Domain:
        """The domain of that name.

        Raises:
            CatalogError: there is none.
        """
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
        return tuple(pair for pair in self.pairs if domain in (pair.source, pair.target))


def load_catalog(path: Path) -> Catalog:
    """Read and validate a catalog file.

    Raises:
        CatalogError: the file is missing or wrong; names the file, the key and what was expected.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        domains = tuple(
            Domain(name=name, folder=path.parent, **spec) for name, spec in document.get("domains", {}).items()
        )
        return Catalog(path=path, domains=domains, pairs=document.get("pairs", []))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CatalogError(f"{path}: {error}") from error
