"""Great Expectations on DuckDB: fixes for what the library gets wrong there, and all uses of its internals.

Nothing else in the project uses the library's internals. pyproject.toml pins it to the release that this was written
for, and ``tests/dagster/test_private.py`` shows what another release has changed.
"""

import html
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import pass_context

from ptupcdr_dagster.checks.loaded_library import gx

try:
    from great_expectations.compatibility import pydantic

    # The most rows of a query that the library reads; further ones are not counted.
    from great_expectations.constants import MAX_RESULT_RECORDS as MAX_RESULT_RECORDS
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult as ExpectationSuiteValidationResult,
    )
    from great_expectations.core.expectation_validation_result import (
        ExpectationValidationResult as ExpectationValidationResult,
    )
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.datasource.fluent.interfaces import Batch as Batch
    from great_expectations.datasource.fluent.sql_datasource import SQLDatasource
    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView
except ImportError as error:
    raise ImportError(
        f"great_expectations {gx.__version__} has moved a name that is not public ({error}): find its new place and "
        f"mend {__name__}, or install the release that pyproject.toml names"
    ) from error

from ptupcdr_core.sql import literal
from ptupcdr_core.store.warehouse import Warehouse

if TYPE_CHECKING:
    import pandas as pd


class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
    """Reads a result before its connection closes, since DuckDB's results end with the connection."""

    def execute_query(self, query: Any) -> Any:
        """Run the query and hold its rows in memory: they are aggregates and samples, never whole tables."""
        with self.get_connection() as connection:
            return self._execute_query_with_recovery(connection, query).freeze()()


class NoRows(UnexpectedRowsExpectation):
    """The query finds no row. The library's own expectation would run it a second time, to count the rows."""

    metric_dependencies = ("unexpected_rows_query.table",)

    @pydantic.validator("unexpected_rows_query")
    def _validate_query(cls, query: str) -> str:  # noqa: N805
        # Replaces the library's validator, which prints a warning at each query that names its tables itself.
        return query

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: Any = None,
    ) -> dict[str, Any]:
        rows = metrics["unexpected_rows_query.table"]
        return {"success": not rows, "result": {"observed_value": len(rows), "details": {"unexpected_rows": rows}}}


# Named here, since in the class below "type" is a field.
EngineType = type[SqlAlchemyExecutionEngine]


class DuckDBDatasource(SQLDatasource):
    """Defining it registers ``add_duckdb`` with Great Expectations."""

    type: Literal["duckdb"] = "duckdb"  # type: ignore[assignment]

    @property
    def execution_engine_type(self) -> EngineType:
        """The engine for DuckDB."""
        return DuckDBExecutionEngine


@contextmanager
def table_batch(file: Path, table: str, attached: Mapping[str, Path]) -> Iterator[Batch]:
    """One table of a DuckDB file, to be validated without locking anybody out.

    Args:
        file: The partition's file.
        table: The table that column expectations are about; queries may read every table of the file.
        attached: Further files that queries may read, by the name under which they do.
    """
    source = _context().data_sources.add_duckdb(
        "warehouse",
        connection_string=f"duckdb:///{file}",
        kwargs={"connect_args": {"read_only": True, "config": Warehouse.from_environment(file.parent).limits}},
        create_temp_table=False,
    )
    # A connection left open would show a later check in this process the old file: if a path is opened again, DuckDB
    # gives the database that is already open, even if the file has been replaced.
    with ExitStack() as connections:
        engine = source.get_engine()
        connections.callback(engine.dispose)
        # All connections to the file share the database: what one attaches and commits, the others see too.
        with engine.begin() as connection:
            for name, other in attached.items():
                connection.exec_driver_sql(f"attach if not exists {literal(other)} as {name} (read_only)")
        batch = source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all").get_batch()
        connections.callback(batch.data.execution_engine.close)
        yield batch


def frame_batch(frame: "pd.DataFrame") -> Batch:
    """A small data frame, to be validated as the one table ``summary``."""
    asset = _context().data_sources.add_pandas("summary").add_dataframe_asset("summary")
    whole = asset.add_batch_definition_whole_dataframe("all")
    batch: Batch = whole.get_batch(batch_parameters={"dataframe": frame})
    return batch


def _context() -> Any:
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    return context


def exception_message(result: ExpectationValidationResult) -> str:
    """The first exception's message, or an empty text; the library stores one flat record, or one for each metric."""
    info = result.exception_info or {}
    records = (
        [info] if "exception_message" in info else [record for record in info.values() if isinstance(record, dict)]
    )
    return next((str(record["exception_message"]) for record in records if record.get("exception_message")), "")


class SafePageView(DefaultJinjaPageView):
    """Escapes values: the library's own view writes those of tables unescaped, scripts included."""

    @pass_context
    def render_content_block(self, jinja_context: Any, content_block: Any, *args: Any, **named: Any) -> Any:
        """HTML of a cell or of a whole block of cells."""
        if isinstance(content_block, str):
            return html.escape(content_block)
        if isinstance(content_block, list):
            content_block = [html.escape(part) if isinstance(part, str) else part for part in content_block]
        return super().render_content_block(jinja_context, content_block, *args, **named)


def rendered(name: str, validations: Sequence[ExpectationSuiteValidationResult]) -> str:
    """The Data Docs page of one or several validations of the same data, as HTML.

    Args:
        name: What the page is called.
        validations: With their results; the description of the data is taken from the first.
    """
    results = [result for validation in validations for result in validation.results]
    met = sum(bool(result.success) for result in results)
    whole = ExpectationSuiteValidationResult(
        success=met == len(results),
        results=results,
        suite_name=name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": 100 * met / max(1, len(results)),
        },
        meta={**validations[0].meta, "run_id": RunIdentifier(run_name=name)},
    )
    # The library's own page fetches styles and scripts from other servers, which must not learn of these data.
    view: Any = SafePageView(custom_views_directory=str(Path(__file__).parent))
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(whole)
    page: str = view.render(document, template="data_docs.html.j2", title=name)
    # Links to the suite's page are removed: it has none, since the facts are plain data of this project.
    return re.sub(r'<a href="[./]*expectations/[^"]*"\s*>(.*?)</a>', r"\1", page)
