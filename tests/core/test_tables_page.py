"""The documentation of a table describes each of its columns, and no others."""

import tomllib
from pathlib import Path

import pytest
from conftest import Lineage

from ptupcdr_core.store.warehouse import Warehouse

PAGE = tomllib.loads((Path(__file__).parents[2] / "docs" / "tables.toml").read_text())
ASSETS = {
    "rejected_ratings": "raw_ratings",
    "recommendable_items": "recommendations",
    "drift": "recommendations",
    "first_night": "recommendations",
}


@pytest.mark.parametrize("table", PAGE)
def test_every_column_is_explained_and_none_else(table: str, lineage: Lineage) -> None:
    asset, warehouse = ASSETS.get(table, table), Warehouse(lineage.home.warehouse)
    [partition, *_] = warehouse.partitions(asset)
    key = "domain" if asset == "raw_ratings" else "pair"
    with warehouse.read(asset, partition) as connection:
        columns = set(connection.table(table).columns)
    assert set(PAGE[table]) - {"about", key} == columns - {key}
