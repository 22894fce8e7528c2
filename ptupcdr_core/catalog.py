"""The catalog: which domains there are, where their ratings lie, and which pairs are bridged."""

import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ptupcdr_core.addresses import shown
from ptupcdr_core.errors import CatalogError
from ptupcdr_core.extensions import added_formats

DATABASES = ("duckdb", "sqlite", "postgres")
FORMATS = ("demo", "csv", "tsv", "parquet", "jsonl", *DATABASES, "amazon-2014", "amazon-2018", "amazon-2023")

# "__" joins the two names of a pair's key, so it may not stand inside a name, nor arise where two names meet.
_NAME = re.compile(r"[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*")
# These say by themselves which columns they have and that stars go from 1 to 5.
_SELF_DESCRIBED = ("demo", "amazon-2014", "amazon-2018", "amazon-2023")


class Columns(BaseModel):
    """What a file calls the four things a rating is made of; without ``timestamp``, time is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(default="user_id", min_length=1)
    item: str = Field(default="item_id", min_length=1)
    rating: str = Field(default="rating", min_length=1)
    timestamp: str | None = Field(default=None, min_length=1)


class Domain(BaseModel):
    """One domain's ratings: where they lie and how they are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    format: str = Field(description="one of FORMATS, or one that an installed package adds (see extensions)")
    path: str | None = Field(
        default=None, min_length=1, repr=False, description="file, glob, or http(s) address; it may hold secrets"
    )
    table: str | None = Field(default=None, min_length=1, description="table of a database")
    columns: Columns = Columns(timestamp="timestamp")
    scale: tuple[float, float] = Field(default=(1, 5), description="lowest and highest rating there can be")
    settled_seconds: float = Field(
        default=0, ge=0, description="a file that has changed more lately is still being written, and left for later"
    )
    marker: str | None = Field(
        default=None, min_length=1, description="file, such as _SUCCESS, without which a folder is left for later"
    )
    folder: Path = Field(default=Path(), description="of the catalog: relative paths start there")

    @field_validator("format")
    @classmethod
    def _can_be_read(cls, name: str) -> str:
        known = [*FORMATS, *sorted(added_formats())]
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return name

    @property
    def shown_path(self) -> str:
        """The path without the secrets that an address may hold; empty for generated ratings."""
        return shown(self.path or "")

    def entry(self) -> dict[str, Any]:
        """What the catalog says of it, as JSON values, without secrets: what tables and pages keep."""
        hidden = {"path": self.shown_path} if self.path else {}
        return self.model_dump(mode="json", exclude={"folder"}) | hidden


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
        CatalogError: the file is missing or wrong; lists everything that is, each with its key and what was expected.
    """
    document = _read(path)
    problems = [
        f"{key}: unknown key, expected [domains.NAME], [[pairs]] and [nights]" for key in sorted(document.keys() - _TOP)
    ]
    domains, found = _domains(document.get("domains"), path.absolute().parent)
    problems += found
    named = document.get("domains")
    pairs, found = _pairs(document.get("pairs"), set(named) if isinstance(named, dict) else set())
    problems += found
    if problems:
        raise CatalogError("\n".join(f"{path}: {problem}" for problem in problems))
    return Catalog(path=path, domains=tuple(domains), pairs=tuple(pairs))


_TOP = {"domains", "pairs", "nights"}
"""What happens at night is the orchestration's, which reads that table itself."""


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise CatalogError(f"{path}: no such file; PTUPCDR_CATALOG names the catalog to use") from error
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{path}: expected a TOML file: {error}") from error


def _domains(specs: object, folder: Path) -> tuple[list[Domain], list[str]]:
    if not isinstance(specs, dict) or not specs:
        return [], ["domains: expected at least one table [domains.NAME]"]
    domains: list[Domain] = []
    problems: list[str] = []
    for name, spec in specs.items():
        key = f"domains.{name}"
        problems += [f"{key}: {problem}" for problem in _name_problems(name, specs)]
        if not isinstance(spec, dict):
            problems.append(f"{key}: expected a table with at least the key format")
            continue
        own = {given: value for given, value in spec.items() if given not in ("name", "folder")}
        problems += [f"{key}.{given}: {_unknown(Domain)}" for given in spec.keys() - own.keys()]
        try:
            domain = Domain(name=name, folder=folder, **own)
        except ValidationError as error:
            problems += _explain(key, error, Domain)
            continue
        problems += [f"{key}.{problem}" for problem in _domain_problems(domain)]
        domains.append(domain)
    return domains, problems


def _name_problems(name: str, names: dict[str, Any]) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "expected a name of letters, digits, '-' and single '_' between them (it becomes a partition key)"
    if sum(other.lower() == name.lower() for other in names) > 1:
        yield "expected names that differ by more than case (they become file names)"


def _domain_problems(domain: Domain) -> Iterator[str]:
    given = domain.model_fields_set
    low, high = domain.scale
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        yield f"scale: expected [lowest, highest] rating, got [{low:g}, {high:g}]"
    if domain.format == "demo" and "path" in given:
        yield "path: not expected, demo ratings are generated"
    if domain.format != "demo" and domain.path is None:
        yield "path: missing, expected a file, a glob or an http(s) address"
    if domain.format == "postgres" and not (domain.path or "").startswith(("postgresql://", "postgres://")):
        yield "path: expected an address, postgresql://USER:${PASSWORD}@HOST/DATABASE"
    if (domain.format in DATABASES) != (domain.table is not None):
        yield f"table: expected with format {' or '.join(DATABASES)}, the table's name" + (
            "" if domain.table is None else ", and only there"
        )
    if domain.format in _SELF_DESCRIBED and "columns" in given:
        yield f"columns: not expected, {domain.format} fixes them"
    if domain.format not in _SELF_DESCRIBED and "scale" not in given:
        yield "scale: missing, expected [lowest, highest] rating, for example [1, 5]"


def _pairs(specs: object, names: set[str]) -> tuple[list[Pair], list[str]]:
    if not isinstance(specs, list) or not specs:
        return [], ["pairs: expected at least one table [[pairs]] with the keys source and target"]
    pairs: list[Pair] = []
    problems: list[str] = []
    for number, spec in enumerate(specs):
        key = f"pairs[{number}]"
        try:
            pair = Pair.model_validate(spec)
        except ValidationError as error:
            problems += _explain(key, error, Pair)
            continue
        problems += [f"{key}{problem}" for problem in _pair_problems(pair, pairs, names)]
        pairs.append(pair)
    return pairs, problems


def _pair_problems(pair: Pair, earlier: list[Pair], names: set[str]) -> Iterator[str]:
    for side, name in (("source", pair.source), ("target", pair.target)):
        if name not in names:
            yield f".{side}: expected one of the domains {', '.join(sorted(names))}, got {name!r}"
    if pair.source == pair.target:
        yield f".target: expected another domain than the source {pair.source!r}"
    if pair in earlier:
        yield f": {pair.key} stands here twice"


def _explain(key: str, error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    for problem in error.errors():
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        # A path may hold secrets, whatever it was given as.
        quiet = problem["type"] in ("missing", "extra_forbidden") or "path" in problem["loc"]
        got = "" if quiet else f", got {problem['input']!r}"
        accepting = Columns if problem["loc"][0] == "columns" and len(problem["loc"]) > 1 else model
        message = (
            _unknown(accepting)
            if problem["type"] == "extra_forbidden"
            else problem["msg"].removeprefix("Value error, ")
        )
        yield f"{key}{place}: {message}{got}"


def _unknown(model: type[BaseModel]) -> str:
    """What to say of a key that is none, which is a typo more often than not."""
    # These two of a domain are its table's name and the catalog's folder.
    accepted = [name for name in model.model_fields if name not in ("name", "folder")]
    return f"unknown key, expected some of {', '.join(accepted)}"
