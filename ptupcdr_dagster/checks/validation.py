"""Validate facts with Great Expectations: DuckDB files inside DuckDB, small summaries as data frames.

Imports Great Expectations, which takes seconds: import this module inside a function.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Literal

# Read when the library is imported.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import dagster as dg
import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.constants import MAX_RESULT_RECORDS
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.datasource.fluent import SQLDatasource
from great_expectations.execution_engine import ExecutionEngine, SqlAlchemyExecutionEngine

from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import QUERY, Fact, Parameter

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.datasource.fluent.interfaces import Batch


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """Reads a result before its connection closes; DuckDB's results do not outlive the connection."""

    def execute_query(self, query: Any) -> Any:
        """Run the query and hold its rows in memory: they are aggregates and samples, never whole tables."""
        with self.get_connection() as connection:
            return self._execute_query_with_recovery(connection, query).freeze()()


class NoRows(gxe.UnexpectedRowsExpectation):
    """The query finds no row. The library's own would run it a second time, to count what it found."""

    metric_dependencies = ("unexpected_rows_query.table",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: ExecutionEngine | None = None,
    ) -> dict[str, Any]:
        rows = metrics["unexpected_rows_query.table"]
        return {"success": not rows, "result": {"observed_value": len(rows), "details": {"unexpected_rows": rows}}}


# In the class below, "type" is a field.
EngineType = type[SqlAlchemyExecutionEngine]


class DuckDBDatasource(SQLDatasource):
    """Defining it registers ``add_duckdb`` with Great Expectations."""

    type: Literal["duckdb"] = "duckdb"  # type: ignore[assignment]

    @property
    def execution_engine_type(self) -> EngineType:
        """The engine that suits DuckDB."""
        return DuckDBExecutionEngine


def validate_table(
    file: Path, table: str, asset: str, facts: Sequence[Fact], parameters: Mapping[str, Any] | None = None
) -> Iterator[dg.AssetCheckResult]:
    """Validate facts about one DuckDB file, reading it without locking anybody out.

    Args:
        file: The partition's file.
        table: The table that column expectations are about; queries may read every table of the file.
        asset: Key of the asset that the facts are about.
        facts: What to validate, all in one pass.
        parameters: Values for ``Parameter(name)`` and for ``$name`` in queries.
    """
    context = _context()
    source = context.data_sources.add_duckdb(  # type: ignore[attr-defined]
        "warehouse",
        connection_string=f"duckdb:///{file}",
        kwargs={"connect_args": {"read_only": True, "config": Warehouse.from_environment(file.parent).limits}},
        create_temp_table=False,
    )
    batch = source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all").get_batch()
    try:
        yield from _validate(batch, asset, facts, parameters or {})
    finally:
        # Both have connections. One left open would show a later check in this process the file as it was: DuckDB gives
        # whoever opens the same path the database that is open, though the file has been replaced.
        batch.data.execution_engine.close()
        source.get_engine().dispose()


def validate_frame(frame: "pd.DataFrame", asset: str, facts: Sequence[Fact]) -> Iterator[dg.AssetCheckResult]:
    """Validate facts about a small summary, one row a thing summarized."""
    source = _context().data_sources.add_pandas("summary")
    batch = (
        source.add_dataframe_asset("summary")
        .add_batch_definition_whole_dataframe("all")
        .get_batch(batch_parameters={"dataframe": frame})
    )
    yield from _validate(batch, asset, facts, {})


def _context() -> Any:
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    return context


def _validate(
    batch: "Batch", asset: str, facts: Sequence[Fact], parameters: Mapping[str, Any]
) -> Iterator[dg.AssetCheckResult]:
    suites: dict[str, list[Any]] = {"SUMMARY": [], "COMPLETE": []}
    for fact in facts:
        # The position keeps apart two expectations that differ in nothing else.
        for position, (kind, arguments) in enumerate(fact.expectations):
            meta = {"fact": fact.name, "position": position}
            made = NoRows if kind == QUERY else getattr(gxe, kind)
            expectation = made(**_filled(arguments, parameters), severity=_severity(fact), meta=meta)
            # Of a query, at most 200 violating rows are read; of a column it would be every value.
            suites["COMPLETE" if kind == QUERY else "SUMMARY"].append(expectation)
    results = [
        result
        for result_format, expectations in suites.items()
        if expectations
        for result in batch.validate(
            gx.ExpectationSuite(name=f"{asset}_{result_format}", expectations=expectations),
            result_format=result_format,
        ).results
    ]
    for fact in facts:
        yield _check_result(asset, fact, [result for result in results if _meta(result)["fact"] == fact.name])


def _filled(arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with the values of this partition: whole values by ``Parameter``, in texts by ``$name``."""
    return {name: _fill(value, parameters) for name, value in arguments.items()}


def _fill(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, Parameter):
        return parameters[value.name]
    return Template(value).substitute(parameters) if isinstance(value, str) else value


def _severity(fact: Fact) -> str:
    return "warning" if fact.warning else "critical"


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
    """What was found, in words short enough for a list of failures; a query stands in the table only."""
    assert result.expectation_config is not None
    is_query = "unexpected_rows_query" in result.expectation_config.kwargs
    return _found(result) if is_query else f"{_title(result)}: {_found(result)}"


def _found(result: ExpectationValidationResult) -> str:
    error = _exception(result)
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


def _exception(result: ExpectationValidationResult) -> str:
    """The first exception's message: one flat record, or one record a metric, as the library chooses."""
    info = result.exception_info or {}
    records = (
        [info] if "exception_message" in info else [record for record in info.values() if isinstance(record, dict)]
    )
    return next((str(record["exception_message"]) for record in records if record.get("exception_message")), "")
