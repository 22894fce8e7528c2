"""The content of a partition's tables."""

from typing import Any

from ptupcdr_core.store.warehouse import Warehouse

Tables = dict[str, tuple[list[Any], list[Any]]]


def tables(warehouse: Warehouse, asset: str, partition: str) -> Tables:
    """Columns with their types, and rows in order, of all tables and views except ``provenance``."""
    with warehouse.read(asset, partition) as connection:
        names = connection.execute(
            "select distinct table_name from duckdb_columns() where database_name = current_database() "
            "and table_name <> 'provenance' order by all"
        ).fetchall()
        return {
            name: (
                connection.execute(f"select column_name, column_type from (describe {name})").fetchall(),
                connection.execute(f"from {name}").fetchall(),
            )
            for (name,) in names
        }
