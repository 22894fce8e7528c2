"""A fact: one named statement about an asset, made of expectations, that becomes one Dagster asset check.

Facts are plain data, so that defining the checks does not import Great Expectations, which takes seconds. The queries
that look for violations are in ``sql/``, one file for each asset, under the names of their facts.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import dagster as dg

from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.sql import literal
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.partitions import CATALOG, PAIRS
from ptupcdr_dagster.resources import SettingsResource

Expectation = tuple[str, dict[str, Any]]
"""Class name in ``great_expectations.expectations``, or ``QUERY``, and its arguments."""

QUERY = "NoRows"
"""The project's own expectation; see ``duckdb_expectations``."""

SPLIT = "domain_splits"
"""The asset that a pair's results are checked against; queries read its tables as ``domain_splits.…``."""


@dataclass(frozen=True)
class Parameter:
    """A value that is known only when a partition is validated; queries write ``$name`` for it."""

    name: str


@dataclass(frozen=True)
class Fact:
    """One statement that holds for every partition of an asset.

    Args:
        name: What the check is called; it states the fact.
        description: The fact in words, and what it means if it does not hold.
        expectations: All must be met.
        warning: Only warn if it does not hold, and let downstream assets go on.
        mode: It is about this mode only; a pair without the mode passes.
    """

    name: str
    description: str
    expectations: tuple[Expectation, ...] = ()
    warning: bool = False
    mode: Mode | None = None

    def spec(self, asset: str, partitions: dg.PartitionsDefinition) -> dg.AssetCheckSpec:
        """The asset check for this fact; it blocks downstream assets unless it only warns."""
        with warnings.catch_warnings():
            # Partitioned asset checks are a preview feature in this release of Dagster: one more reason to pin it.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.AssetCheckSpec(
                self.name,
                asset=asset,
                description=self.description,
                blocking=not self.warning,
                partitions_def=partitions,
            )


def specs(asset: str, facts: Sequence[Fact], partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """The asset checks for these facts."""
    return [fact.spec(asset, partitions) for fact in facts]


def facts_about(asset: str, *facts: Fact) -> tuple[Fact, ...]:
    """The facts, each with the queries under its name in ``sql/<asset>.sql``.

    Raises:
        ValueError: A query belongs to no fact, or a fact has neither queries nor other expectations.
    """
    queries = _queries(asset)
    complete = tuple(
        replace(fact, expectations=(*fact.expectations, *map(no_rows, queries.pop(fact.name, ())))) for fact in facts
    )
    empty = [fact.name for fact in complete if not fact.expectations]
    if queries or empty:
        raise ValueError(f"sql/{asset}.sql: no fact for {sorted(queries)}, no query for {empty}")
    return complete


def _queries(file: str) -> dict[str, list[str]]:
    """The queries of a file, by the name in the line ``-- name: …`` above them."""
    _, *blocks = files(__package__).joinpath("sql", f"{file}.sql").read_text(encoding="utf-8").split("-- name: ")
    named = (block.partition("\n") for block in blocks)
    return {name: [q.strip() for q in text.split(";") if q.strip()] for name, _, text in named}


def table_checks(
    asset: str,
    facts: Sequence[Fact],
    *,
    against: Callable[[Warehouse, str], Mapping[str, Path]] = lambda warehouse, partition: {},
    parameters: Callable[[Home, str, Settings], Mapping[str, Any]] = lambda home, partition, settings: {},
    table: str | None = None,
    optional: bool = False,
    partitions: dg.PartitionsDefinition = PAIRS,
) -> dg.AssetChecksDefinition:
    """The asset checks for facts about one asset's file in the warehouse.

    Args:
        asset: Key of the asset.
        facts: What is validated, all in one pass.
        against: Further files that queries read, by the name that they have in queries.
        parameters: Values for ``Parameter(name)`` and for ``$name`` in queries, for a partition and its settings.
        table: The table that column expectations are about; by default the one with the asset's name.
        optional: The file may be missing; the facts then pass.
        partitions: The asset's partitions.
    """

    @dg.multi_asset_check(
        specs=specs(asset, facts, partitions), name=f"{asset}_checks", description=f"Validate one partition of {asset}."
    )
    def checks(
        context: dg.AssetCheckExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
    ) -> Iterator[dg.AssetCheckResult]:
        from ptupcdr_dagster.checks.validation import validate_table

        warehouse, partition = Warehouse(home.warehouse), context.partition_key
        if optional and not warehouse.exists(asset, partition):
            for fact in facts:
                yield dg.AssetCheckResult(passed=True, check_name=fact.name, description="nothing was made yet")
            return
        chosen, held = settings.to_settings(), list(facts)
        if any(fact.mode for fact in facts):
            present = pair_modes(home, partition, chosen)
            held = [fact for fact in facts if fact.mode in (None, *present)]
        for fact in facts:
            if fact not in held:
                told = f"not asked: the pair's only mode is {present[0]}"
                yield dg.AssetCheckResult(passed=True, check_name=fact.name, description=told)
        if held:
            yield from validate_table(
                warehouse.file(asset, partition),
                table or asset,
                asset,
                held,
                parameters(home, partition, chosen),
                against(warehouse, partition),
                (home, partition),
            )

    return checks


def pair_modes(home: Home, pair: str, settings: Settings) -> list[Mode]:
    """The modes of a run on a pair, which depend on whether it has stars."""
    from ptupcdr_core.data.pair_data import load_outline
    from ptupcdr_core.modes.registry import modes_of

    return [mode.name for mode in modes_of(settings, load_outline(Warehouse(home.warehouse), pair))]


def split_of(warehouse: Warehouse, pair: str) -> Mapping[str, Path]:
    """The pair's split, for queries of ``domain_splits.…``."""
    return {SPLIT: warehouse.file(SPLIT, pair)}


def raw_ratings_of(warehouse: Warehouse, pair: str) -> Mapping[str, Path]:
    """The raw ratings of the pair's domains, for queries of ``given_rows``."""
    domains = CATALOG.pair(pair).domains
    return {f"file_{at}": warehouse.file("raw_ratings", domain) for at, domain in enumerate(domains)}


def given_rows(pair: str) -> dict[str, str]:
    """Relations of user and item of all ratings there are today, as ``$source_given`` and ``$target_given``; with
    several sources, an item's id starts with its domain.
    """
    chosen, rows = CATALOG.pair(pair), []
    for at, domain in enumerate(chosen.sources):
        prefix = f"{literal(domain + ':')} || " if len(chosen.sources) > 1 else ""
        rows.append(f"select user_id, {prefix}item_id as item_id from file_{at}.raw_ratings")  # nosec B608 # quoted
    target = f"file_{len(chosen.sources)}.raw_ratings"
    return {"source_given": f"({' union all '.join(rows)})", "target_given": target}


def no_rows(query: str) -> Expectation:
    """The query, which looks for violations in the partition's file, finds none."""
    return QUERY, {"unexpected_rows_query": query}


def not_null(column: str) -> Expectation:
    """The column of the asset's own table has no null."""
    return "ExpectColumnValuesToNotBeNull", {"column": column}


def between(column: str, low: Any, high: Any) -> Expectation:
    """Every value of the column lies between the two, both included."""
    return "ExpectColumnValuesToBeBetween", {"column": column, "min_value": low, "max_value": high}


def unique(*columns: str) -> Expectation:
    """No two rows of the asset's own table agree in all of these columns."""
    return _in_any_table("unique", columns=", ".join(columns))


def has_columns(table: str, **types: str) -> Expectation:
    """The table has at least these columns, with these DuckDB types (``FLOAT[%]`` for an array of any size)."""
    columns = ", ".join(f"('{column}', '{kind}')" for column, kind in types.items())
    return _in_any_table("declared_columns", table=table, columns=columns)


def _in_any_table(name: str, **filled_in: str) -> Expectation:
    [query] = _queries("any_table")[name]
    return no_rows(Template(query).substitute(filled_in))
