"""A night: lists from what is deployed for whoever is cold-start today."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Lineage
from small_lineage import PAIR, SETTINGS, domains, read

from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

Change = Callable[[pa.Table], pa.Table]
LISTS = "select user_id, list(item_id order by rank) from recommendations group by user_id order by user_id"


def night(lineage: Lineage, home: Home, files: Path, **changes: Change) -> StageReport:
    """Ingest the ratings as they are changed tonight, and score; nothing else is made."""
    warehouse = Warehouse.from_environment(home.warehouse)
    for domain in domains(files):
        if domain.name in changes:
            table = pq.read_table(lineage.files / f"{domain.name}.parquet")
            pq.write_table(changes[domain.name](table), files / f"{domain.name}.parquet")
            ingest_domain(domain, warehouse)
    return recommend_cold_users(home, PAIR, SETTINGS)


@pytest.fixture
def last_week(lineage: Lineage, tmp_path: Path) -> tuple[Home, Path]:
    """A home whose split and models are of last week, and a folder for tonight's files."""
    shutil.copytree(lineage.home.root, tmp_path / "home")
    return Home(tmp_path / "home"), tmp_path


def rows_of(user: str, items: list[str], table: pa.Table) -> pa.Table:
    count = len(items)
    columns = {"user_id": [user] * count, "item_id": items, "rating": [5.0] * count, "timestamp": [9] * count}
    return pa.concat_tables([table, pa.table(columns, schema=table.schema)])


def test_a_night_like_the_training_changes_no_list(lineage: Lineage, last_week: tuple[Home, Path]) -> None:
    home, files = last_week
    before = read(home, "recommendations", LISTS)
    night(lineage, home, files)
    assert read(home, "recommendations", LISTS) == before


def test_whoever_came_today_is_served_and_whoever_rated_in_the_target_no_longer(
    lineage: Lineage, last_week: tuple[Home, Path]
) -> None:
    home, files = last_week
    came, left = "came-today", read(home, "recommendations", "select min(user_id) from recommendations")[0][0]
    night(
        lineage,
        home,
        files,
        books=lambda table: rows_of(came, [f"books-{n:04d}" for n in range(6)], table),
        movies=lambda table: rows_of(left, ["movies-0001"], table),
    )
    listed = dict(read(home, "recommendations", "select user_id, cohort from recommendations"))
    assert listed[came] == "cold"
    assert listed.get(left, "test") == "test", "served only if it fell to the held-out users"
    assert read(home, "domain_splits", f"select 1 from split_users where user_id = '{came}'") == []
    made_by = "select distinct made_by, len(reasons) > 0 from recommendations where user_id = 'came-today' and rank = 1"
    assert read(home, "recommendations", made_by) == [("bridge", True)]
