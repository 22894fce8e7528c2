"""What a person sees on an asset's page: tables, row counts, column schemas and learning curves."""

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from ptupcdr_core.sql import identifier
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

if TYPE_CHECKING:
    import duckdb
    import pandas as pd


def describe_tables(home: Home, asset: str, partition: str, main: str) -> dict[str, Any]:
    """Rows and columns of the partition's tables, its file, and how to query it.

    All pairs have the same tables; columns that are empty throughout, such as stars where there are none, are left out.

    Args:
        home: Where the warehouse is.
        asset: Key of the asset.
        partition: The domain or pair.
        main: The table whose rows and columns are shown as the asset's own.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    with warehouse.read(asset, partition) as connection:
        declared = connection.execute(
            "select table_name, column_name, data_type from duckdb_columns() "
            "where database_name = current_database() and table_name <> 'provenance' order by table_name, column_index"
        ).fetchall()
        tables = sorted({table for table, _, _ in declared})
        rows = {table: connection.table(table).count("*").fetchall()[0][0] for table in tables}
        columns = [column for column in declared if _holds_something(connection, *column[:2])]
    schema = dg.TableSchema([dg.TableColumn(name, kind) for table, name, kind in columns if table == main])
    return {
        "dagster/row_count": rows[main],
        "dagster/column_schema": schema,
        "tables": table(
            [
                {"table": name, "rows": count, "columns": ", ".join(c for t, c, _ in columns if t == name)}
                for name, count in rows.items()
            ]
        ),
        "duckdb_file": dg.MetadataValue.path(warehouse.file(asset, partition)),
        "query": dg.MetadataValue.md(f"```sh\nduckdb {warehouse.catalog} 'from {main} limit 20'\n```"),
    }


def _holds_something(connection: "duckdb.DuckDBPyConnection", table: str, column: str) -> bool:
    """Whether a value stands in the column; looks no further than the first one."""
    query = f"select 1 from {identifier(table)} where {identifier(column)} is not null limit 1"  # nosec B608 # quoted
    return bool(connection.execute(query).fetchall())


def table(records: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Records as a table."""
    return dg.MetadataValue.table([dg.TableRecord({name: _cell(value) for name, value in r.items()}) for r in records])


def frame_table(frame: "pd.DataFrame") -> dg.TableMetadataValue:
    """A small data frame as a table, which may be empty."""
    if frame.empty:
        columns = [dg.TableColumn(str(name)) for name in frame.columns]
        return dg.MetadataValue.table([], schema=dg.TableSchema(columns))
    return table(frame.to_dict(orient="records"))


def counts_table(counts: Mapping[str, int], what: str) -> dg.TableMetadataValue:
    """Counts by kind as a table of two columns, which may be empty."""
    schema = dg.TableSchema([dg.TableColumn(what, "string"), dg.TableColumn("count", "int")])
    return dg.MetadataValue.table([dg.TableRecord({what: k, "count": n}) for k, n in counts.items()], schema=schema)


def learning_curves(curves: Mapping[str, Sequence[float]]) -> dg.MarkdownMetadataValue:
    """Per-epoch curves as one picture, one panel for each quantity.

    Args:
        curves: Values by name; ``emcdr_validation_rmse`` and ``ptupcdr_validation_rmse`` share a panel.
    """
    from matplotlib.figure import Figure

    panels: dict[str, list[str]] = {}
    for name in curves:
        found = re.search(r"(training|validation)_\w+$", name)
        panels.setdefault(found.group() if found else name, []).append(name)
    figure = Figure(figsize=(4.2 * len(panels), 3.0), layout="constrained")
    for axes, (quantity, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name in names:
            axes.plot(range(1, len(curves[name]) + 1), curves[name], marker=".", label=name)
        axes.set(title=quantity, xlabel="epoch")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(fontsize="small")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90)
    return picture(drawn.getvalue(), "learning curves")


def picture(png: bytes, alt: str) -> dg.MarkdownMetadataValue:
    """A PNG that the UI shows without a file behind it."""
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode()})")


def number(value: float) -> float | str:
    """A number as the UI can show it: five digits, or whole above 10,000; JSON knows neither infinity nor NaN."""
    if not math.isfinite(value):
        return str(float(value))
    return float(f"{value:.5g}" if abs(value) < 1e4 else f"{value:.0f}")


def _cell(value: Any) -> str | int | float | bool | None:
    """A value that a Dagster table can hold."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float):
        return number(plain)
    return plain if plain is None or isinstance(plain, str | int | bool) else str(plain)
