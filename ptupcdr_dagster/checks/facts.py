"""A fact: one named statement about an asset, made of expectations, that becomes one Dagster asset check.

Facts are plain data, so that defining the checks costs no import of Great Expectations, which takes seconds.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

Expectation = tuple[str, dict[str, Any]]
"""Class name in ``great_expectations.expectations``, or ``QUERY``, and its arguments."""

QUERY = "NoRows"
"""The project's own expectation; see ``validation``."""


@dataclass(frozen=True)
class Parameter:
    """A value that is known only when a partition is validated; queries write ``$name`` for it."""

    name: str


@dataclass(frozen=True)
class Fact:
    """One statement that holds for every partition of an asset.

    Attributes:
        name: What the check is called; it states the fact.
        description: The fact in words, and what it would mean if it did not hold.
        expectations: All must be met.
        warning: Only warn when it does not hold, and let downstream assets go on.
    """

    name: str
    description: str
    expectations: tuple[Expectation, ...]
    warning: bool = False

    def spec(self, asset: str, partitions: dg.PartitionsDefinition) -> dg.AssetCheckSpec:
        """The asset check that shows this fact; it holds downstream assets back unless it only warns."""
        with warnings.catch_warnings():
            # Partitioned asset checks are a preview in this release of Dagster, which is pinned for that reason too.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.AssetCheckSpec(
                self.name,
                asset=asset,
                description=self.description,
                blocking=not self.warning,
                partitions_def=partitions,
            )


def specs(asset: str, facts: Sequence[Fact], partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """The asset checks that show these facts."""
    return [fact.spec(asset, partitions) for fact in facts]


def no_rows(query: str) -> Expectation:
    """The query, which looks for violations anywhere in the partition's file, finds none."""
    return QUERY, {"unexpected_rows_query": query}


def not_null(column: str) -> Expectation:
    """The column of the asset's own table has no null."""
    return "ExpectColumnValuesToNotBeNull", {"column": column}


def between(column: str, low: Any, high: Any) -> Expectation:
    """Every value of the column lies between the two, both included."""
    return "ExpectColumnValuesToBeBetween", {"column": column, "min_value": low, "max_value": high}


def unique(*columns: str) -> Expectation:
    """No two rows of the asset's own table agree in all of these columns."""
    # The library's own expectations of this count in a window over all rows, twice: that takes three times as long.
    names = ", ".join(columns)
    return no_rows(f"select {names}, count(*) as times from {{batch}} group by all having times > 1")


def has_columns(table: str, **types: str) -> Expectation:
    """The table has at least these columns, with these DuckDB types (``FLOAT[%]`` for an array of any size)."""
    wanted = ", ".join(f"('{column}', '{kind}')" for column, kind in types.items())
    return no_rows(
        f"select w.column_name, w.data_type as expected, found.data_type as found "
        f"from (values {wanted}) as w(column_name, data_type) left join duckdb_columns() as found "
        f"on found.table_name = '{table}' and found.column_name = w.column_name "
        f"where found.data_type is null or found.data_type not like w.data_type"
    )
