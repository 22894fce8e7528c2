"""The catalog's file: it is read and validated, and every problem is named with its key and what was expected."""

import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ptupcdr_core.addresses import is_remote
from ptupcdr_core.catalog import DATABASES, EMBEDDED, FORMATS, TOGETHER, Catalog, Domain, Pair, PeopleTable
from ptupcdr_core.errors import CatalogError

NOT_KEYS = ("name", "folder", "people", "parts")
"""Fields of a domain that are not keys of its entry in the catalog."""
LARGEST_RATING = 1e9
"""Models compute in float32, in which the square of a much larger rating overflows."""
_TOP = {"domains", "pairs", "people", "nights"}
"""The keys at the top of a catalog. ``nights`` concerns the orchestration alone, which reads that table itself."""
# "__" joins the two names of a pair's key, and "+" those of several sources, so neither may stand inside a name, nor
# arise where two names meet.
_NAME = re.compile(r"[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*")
# Formats whose columns are fixed and whose stars go from 1 to 5.
_SELF_DESCRIBED = ("demo", "amazon-2014", "amazon-2018", "amazon-2023")


def load_catalog(path: Path) -> Catalog:
    """Read and validate a catalog file.

    Raises:
        CatalogError: the file is missing or wrong; the message lists every problem with its key and what was expected.
    """
    document = read_document(path)
    problems = [
        f"{key}: unknown key, expected [domains.NAME], [[pairs]] and optionally [people] and [nights]"
        for key in sorted(document.keys() - _TOP)
    ]
    domains, found = _domains(document.get("domains"), path.absolute().parent)
    problems += found
    named = document.get("domains")
    people, found = _people(document.get("people"), domains)
    problems += found
    domains = [domain.model_copy(update={"people": people.get(domain.name)}) for domain in domains]
    pairs, found = _pairs(document.get("pairs"), set(named) if isinstance(named, dict) else set(), domains)
    problems += found
    if problems:
        raise CatalogError("\n".join(f"{path}: {problem}" for problem in problems))
    return Catalog(path=path, domains=tuple(domains), pairs=tuple(pairs))


def read_document(path: Path) -> dict[str, Any]:
    """A catalog's tables as they are written.

    Raises:
        CatalogError: the file is missing, or not TOML.
    """
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
        own = {given: value for given, value in spec.items() if given not in NOT_KEYS}
        problems += [f"{key}.{given}: unknown key" for given in spec.keys() - own.keys()]
        try:
            domain = Domain(name=name, folder=folder, **own)
        except ValidationError as error:
            problems += _explain(key, error)
            continue
        problems += [f"{key}.{problem}" for problem in _domain_problems(domain)]
        domains.append(domain)
    return domains, problems


def _people(spec: object, domains: list[Domain]) -> tuple[dict[str, PeopleTable], list[str]]:
    """The table of people by the domains that it has a column for; by default a column has its domain's name."""
    if spec is None:
        return {}, []
    names = [domain.name for domain in domains]
    given = {"columns": {name: name for name in names}} | spec if isinstance(spec, dict) else spec
    try:
        table = PeopleTable.model_validate(given)
    except ValidationError as error:
        return {}, [*_explain("people", error)]
    unknown = [f"people.columns.{name}: no such domain" for name in table.columns if name not in names]
    return dict.fromkeys(table.columns, table), unknown


def _name_problems(name: str, names: dict[str, Any]) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "expected a name of letters, digits, '-' and single '_' between them (it becomes a partition key)"
    if sum(other.lower() == name.lower() for other in names) > 1:
        yield "expected names that differ by more than case (they become file names)"


def _domain_problems(domain: Domain) -> Iterator[str]:
    given = domain.model_fields_set
    low, high = domain.scale
    if not -LARGEST_RATING <= low < high <= LARGEST_RATING:
        yield f"scale: expected [lowest, highest] rating, within ±{LARGEST_RATING:g}, got [{low:g}, {high:g}]"
    if domain.format == "demo" and "path" in given:
        yield "path: not expected, demo ratings are generated"
    if domain.format != "demo" and domain.path is None:
        yield "path: missing, expected a file, a glob, or an http(s) or s3 address"
    if domain.format == "postgres" and not (domain.path or "").startswith(("postgresql://", "postgres://")):
        yield "path: expected an address, postgresql://USER:${PASSWORD}@HOST/DATABASE"
    if domain.format in FORMATS and domain.format != "postgres" and _is_foreign(domain.path or ""):
        yield (
            f"path: expected a file, a glob, or an http(s) or s3 address, got {domain.shown_path}; what lies elsewhere "
            "may have an https address too, public or presigned"
        )
    if domain.format == "postgres" and domain.engine != EMBEDDED:
        yield f"engine: expected {EMBEDDED}, as its rows come over one connection; or export them to Parquet files"
    if (domain.format in DATABASES) != (domain.table is not None):
        yield f"table: expected with format {' or '.join(DATABASES)}, the table's name" + (
            "" if domain.table is None else ", and only there"
        )
    if domain.format in _SELF_DESCRIBED and "columns" in given:
        yield f"columns: not expected, {domain.format} fixes them"
    if domain.items is not None and domain.items.most_of_group is not None and domain.items.columns.group is None:
        yield "items.most_of_group: expected with items.columns.group, which names the column of the groups"
    yield from _explicit_problems(domain) if domain.feedback == "explicit" else _implicit_problems(domain)


def _is_foreign(path: str) -> bool:
    return is_remote(path) and not path.lower().startswith(("http://", "https://", "s3://"))


def _explicit_problems(domain: Domain) -> Iterator[str]:
    given = domain.model_fields_set
    if domain.format not in _SELF_DESCRIBED and "scale" not in given:
        yield 'scale: missing, expected [lowest, highest] rating, for example [1, 5]; or feedback = "implicit"'
    if "least_weight" in given or domain.columns.weight is not None:
        yield 'feedback: expected "implicit" where events have weights'


def _implicit_problems(domain: Domain) -> Iterator[str]:
    if "scale" in domain.model_fields_set:
        yield "scale: not expected, events have no stars"
    if "rating" in domain.columns.model_fields_set:
        yield "columns.rating: not expected, events have no stars; an amount such as a quantity is columns.weight"
    if "least_weight" in domain.model_fields_set and domain.columns.weight is None:
        yield "least_weight: expected with columns.weight, which names the column that it is about"
    if not math.isfinite(domain.least_weight):
        yield f"least_weight: expected a finite number, got {domain.least_weight}"


def _pairs(specs: object, names: set[str], domains: list[Domain]) -> tuple[list[Pair], list[str]]:
    if not isinstance(specs, list) or not specs:
        return [], ["pairs: expected at least one table [[pairs]] with the keys source and target"]
    pairs: list[Pair] = []
    problems: list[str] = []
    for number, spec in enumerate(specs):
        key = f"pairs[{number}]"
        try:
            pair = Pair.model_validate(_joined(spec))
        except ValidationError as error:
            problems += _explain(key, error)
            continue
        problems += [f"{key}{problem}" for problem in _pair_problems(pair, pairs, names)]
        together = [domain for domain in domains if domain.name in pair.sources]
        problems += [f"{key}{problem}" for problem in _together_problems(together)]
        pairs.append(pair)
    return pairs, problems


def _joined(spec: object) -> object:
    """A pair's entry, the names of several sources joined into one."""
    names = spec.get("source") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(names, list) or not names:
        return spec
    return spec | {"source": TOGETHER.join(names)} if all(isinstance(name, str) for name in names) else spec


def _pair_problems(pair: Pair, earlier: list[Pair], names: set[str]) -> Iterator[str]:
    for side, own in (("source", pair.sources), ("target", (pair.target,))):
        for name in own:
            if name not in names:
                yield f".{side}: expected one of the domains {', '.join(sorted(names))}, got {name!r}"
    if pair.target in pair.sources:
        yield f".target: expected another domain than the source {pair.target!r}"
    if len(set(pair.sources)) < len(pair.sources):
        yield f".source: expected domains that differ, got {', '.join(pair.sources)}"
    if pair in earlier:
        yield f": {pair.key} is listed twice"


def _together_problems(sources: list[Domain]) -> Iterator[str]:
    if len({domain.stars for domain in sources}) > 1:
        told = (f"{one.name} with {_stars_told(one)}" for one in sources)
        yield f".source: expected several sources to be rated on one scale, or all to be events, got {', '.join(told)}"


def _stars_told(domain: Domain) -> str:
    return "events" if domain.stars is None else "stars from {:g} to {:g}".format(*domain.stars)


def _explain(key: str, error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        # A path may hold secrets, even where it is not a text.
        quiet = problem["type"] in ("missing", "extra_forbidden") or "path" in problem["loc"]
        got = "" if quiet else f", got {problem['input']!r}"
        message = (
            "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        )
        yield f"{key}{place}: {message}{got}"
