"""Validate facts with Great Expectations: DuckDB files inside DuckDB, small summaries as data frames.

Imports Great Expectations, which takes seconds: import this module inside a function.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_dagster.checks.data_docs import write_page
from ptupcdr_dagster.checks.duckdb_expectations import (
    MAX_RESULT_RECORDS,
    Batch,
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
    NoRows,
    exception_message,
    frame_batch,
    rendered,
    table_batch,
)

# isort: split
# After the import there, which is as it has to be.
import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.expectations.metadata_types import FailureSeverity

from ptupcdr_dagster.checks.facts import QUERY, Fact, Parameter

if TYPE_CHECKING:
    import pandas as pd

Documented = tuple[Home, str]
"""Whose Data Docs page is written: the home, and the partition."""


def validate_table(
    file: Path,
    table: str,
    asset: str,
    facts: Sequence[Fact],
    parameters: Mapping[str, Any] | None = None,
    attached: Mapping[str, Path] | None = None,
    documented: Documented | None = None,
) -> Iterator[dg.AssetCheckResult]:
    """Validate facts about one DuckDB file, reading it without locking anybody out.

    Args:
        file: The partition's file.
        table: The table that column expectations are about; queries may read every table of the file.
        asset: Key of the asset that the facts are about.
        facts: What to validate, all in one pass.
        parameters: Values for ``Parameter(name)`` and for ``$name`` in queries.
        attached: Further files that queries may read, by the name that they have in queries.
        documented: Home and partition whose Data Docs page is written; None: no page.
    """
    with table_batch(file, table, attached or {}) as batch:
        yield from _validate(batch, asset, facts, parameters or {}, documented)


def validate_frame(
    frame: "pd.DataFrame", asset: str, facts: Sequence[Fact], documented: Documented | None = None
) -> Iterator[dg.AssetCheckResult]:
    """Validate facts about a small summary table."""
    yield from _validate(frame_batch(frame), asset, facts, {}, documented)


def _validate(
    batch: Batch, asset: str, facts: Sequence[Fact], parameters: Mapping[str, Any], documented: Documented | None
) -> Iterator[dg.AssetCheckResult]:
    suites: dict[Literal["SUMMARY", "COMPLETE"], list[Any]] = {"SUMMARY": [], "COMPLETE": []}
    for fact in facts:
        # The position tells apart two expectations that are otherwise equal.
        for position, (kind, arguments) in enumerate(fact.expectations):
            meta = {"fact": fact.name, "position": position}
            made = NoRows if kind == QUERY else getattr(gxe, kind)
            # On the page, words replace the query.
            said = f"{fact.name.replace('_', ' ')}: {fact.description}" if kind == QUERY else None
            filled = _filled(arguments, parameters)
            expectation = made(**filled, severity=_severity(fact), meta=meta, description=said)
            # COMPLETE reads at most 200 violating rows of a query, but would read every value of a column.
            suites["COMPLETE" if kind == QUERY else "SUMMARY"].append(expectation)
    validations = [
        batch.validate(
            gx.ExpectationSuite(name=f"{asset}_{result_format}", expectations=expectations),
            result_format=result_format,
        )
        for result_format, expectations in suites.items()
        if expectations
    ]
    results = [result for validation in validations for result in validation.results]
    page = _page(validations, asset, *documented) if documented else {}
    for fact in facts:
        checked = _check_result(asset, fact, [result for result in results if _meta(result)["fact"] == fact.name])
        yield checked.with_metadata({**checked.metadata, **page})


def _page(
    validations: Sequence[ExpectationSuiteValidationResult], asset: str, home: Home, partition: str
) -> dict[str, dg.MetadataValue[Any]]:
    """Write the partition's Data Docs page and return the link to it."""
    results = [result for validation in validations for result in validation.results]
    met = sum(bool(result.success) for result in results)
    page = rendered(f"{asset} of {partition}", validations)
    return {"data_docs": dg.MetadataValue.url(write_page(home, asset, partition, page, met, len(results)).as_uri())}


def _filled(arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with the values of this partition in place of ``Parameter``, and of ``$name`` within texts."""
    return {name: _fill(value, parameters) for name, value in arguments.items()}


def _fill(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, Parameter):
        return parameters[value.name]
    return Template(value).substitute(parameters) if isinstance(value, str) else value


def _severity(fact: Fact) -> FailureSeverity:
    return FailureSeverity.WARNING if fact.warning else FailureSeverity.CRITICAL


def _meta(result: ExpectationValidationResult) -> dict[str, Any]:
    assert result.expectation_config is not None
    return dict(result.expectation_config.meta or {})


def _check_result(asset: str, fact: Fact, results: Sequence[ExpectationValidationResult]) -> dg.AssetCheckResult:
    failed = [result for result in results if not result.success]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=fact.name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN if fact.warning else dg.AssetCheckSeverity.ERROR,
        description="; ".join(_finding(result) for result in failed) or None,
        metadata={
            "expectations": dg.MetadataValue.table(
                [
                    dg.TableRecord(
                        {"expectation": _title(result), "met": bool(result.success), "found": _found(result)}
                    )
                    for result in results
                ]
            )
        },
    )


def _title(result: ExpectationValidationResult) -> str:
    assert result.expectation_config is not None
    kind = result.expectation_config.type.removeprefix("expect_").replace("_", " ")
    arguments = result.expectation_config.kwargs
    about = arguments.get("column") or ", ".join(arguments.get("column_list", []))
    return arguments.get("unexpected_rows_query") or (f"{kind} ({about})" if about else kind)


def _finding(result: ExpectationValidationResult) -> str:
    """What was found, short enough for a list of failures; a query's text is shown in the table only."""
    assert result.expectation_config is not None
    is_query = "unexpected_rows_query" in result.expectation_config.kwargs
    return _found(result) if is_query else f"{_title(result)}: {_found(result)}"


def _found(result: ExpectationValidationResult) -> str:
    error = exception_message(result)
    if error:
        return error
    found = result.result
    if "details" in found:
        rows = found["details"].get("unexpected_rows") or []
        return _count(len(rows), "violating row", rows, more=len(rows) == MAX_RESULT_RECORDS)
    if "unexpected_count" in found:
        return _count(found["unexpected_count"], "unexpected value", found.get("partial_unexpected_list") or [])
    return str(found.get("observed_value", ""))


def _count(amount: int, what: str, sample: Sequence[Any], *, more: bool = False) -> str:
    counted = f"{amount}{' or more' * more} {what}{'' if amount == 1 else 's'}"
    return f"{counted}, such as {'; '.join(_show(entry) for entry in sample[:2])}" if sample else counted


def _show(entry: Any) -> str:
    return ", ".join(f"{k}={v}" for k, v in entry.items()) if isinstance(entry, Mapping) else str(entry)
