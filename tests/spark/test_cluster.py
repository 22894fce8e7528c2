"""A real local cluster of two executors, of which one is killed in the middle: the same tables all the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ratings_files import as_delimited, pack
from table_rows import tables

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.row_engine import Embedded
from ptupcdr_core.store.warehouse import Warehouse

PROGRAM = Path(__file__).with_name("dying_executors.py")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two sessions of several programs each
def test_executors_that_die_in_cleaning_and_splitting_cost_no_row(
    spark_environment: dict[str, str], tmp_path: Path
) -> None:
    folders = {}
    for name in ("books", "movies"):
        folders[name] = tmp_path / name
        for part in range(6):
            rows = [
                (f"u{(7 * row + part) % 90}", f"{name}{row % 31}", 1 + row % 5, row % 11) for row in range(part, 400)
            ]
            pack(folders[name] / f"{part}.csv", as_delimited([*rows, ("u1", "", "6", "soon")]))
    own = spark_environment | {"PTUPCDR_SPARK": "local-cluster[2,1,1024]"}
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "spark", *folders.values()],
        env=os.environ | own,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == ["cleaning", "splitting"], "one executor was killed in each"
    alone = Warehouse(tmp_path / "duckdb" / "warehouse")
    sides = [Domain(name=name, format="csv", path=str(folder)) for name, folder in folders.items()]
    for side in sides:
        Embedded().ingest_domain(side, alone)
    Embedded().build_split(Pair(source="books", target="movies"), *sides, alone, Settings())
    made = Warehouse(tmp_path / "spark" / "warehouse")
    for asset, partition in (("raw_ratings", "books"), ("raw_ratings", "movies"), ("domain_splits", "books__movies")):
        assert tables(made, asset, partition) == tables(alone, asset, partition)
