"""Nightly scoring: lists from the deployed model for all users who are cold-start today."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Lineage
from small_lineage import PAIR, SETTINGS, domains, read

from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file, deployed_bundle
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


def drift(home: Home) -> dict[str, tuple[float, float, float | None]]:
    """Of the last night, by measure: before, tonight, drift."""
    last = "where night = (select max(night) from drift)"
    return {
        name: numbers
        for name, *numbers in read(home, "recommendations", f"select measure, before, tonight, drift from drift {last}")
    }


def test_a_night_like_the_training_does_not_drift(lineage: Lineage, last_week: tuple[Home, Path]) -> None:
    home, files = last_week
    report = night(lineage, home, files)
    assert {name: value for name, value in report.metrics.items() if name.startswith("drift_")} == dict.fromkeys(
        [f"drift_{name}" for name in drift(home)], 0.0
    )
    [(overlapping,)] = read(
        home, "domain_splits", "select count(*) from split_users where cohort in ('test', 'validation', 'bridge')"
    )
    assert drift(home)["shared_users"][:2] == [overlapping, overlapping]
    assert read(home, "recommendations", "select count(distinct night) from drift") == [(2,)]


def test_another_population_and_new_items_are_told(lineage: Lineage, last_week: tuple[Home, Path]) -> None:
    home, files = last_week

    def content(table: pa.Table) -> pa.Table:
        return table.set_column(2, "rating", pc.min_element_wise(pc.add(table["rating"], 2), 5.0))

    night(
        lineage,
        home,
        files,
        books=lambda table: rows_of("reader", [f"new-{n}" for n in range(len(table) // 2)], table),
        movies=content,
    )
    found = drift(home)
    assert found["source_ratings"][2] == pytest.approx(0.5, abs=0.01)
    assert found["source_items_unknown"][1] > 0.5, "the new items are most of what cold-start people have rated"
    assert found["target_stars"][2] > 0.5
    assert found["target_stars"][1] > found["target_stars"][0]


def test_a_bundle_of_an_earlier_version_says_no_more_than_it_knows(
    lineage: Lineage, last_week: tuple[Home, Path]
) -> None:
    home, files = last_week
    bundle = deployed_bundle(home, PAIR)
    silent = {name: replace(mode, origin=replace(mode.origin, data=None)) for name, mode in bundle.modes.items()}
    replace(bundle, modes=silent).save(bundle_file(home, DEPLOYED, PAIR))
    night(lineage, home, files)
    assert set(drift(home)) == {"source_items_unknown", "target_items_unknown", "best_scores", "list_overlap"}
