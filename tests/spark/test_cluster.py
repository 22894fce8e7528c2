"""A cluster one of whose two executors is killed in the middle, again and again: the tables come out the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ratings_files import as_delimited, pack
from safetensors.numpy import load_file
from table_rows import tables

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import SIDES
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.row_engine import Embedded
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

PAIR = "books__movies"
SETTINGS = Settings(mode="ranking", ranking_size=4)
PROGRAM = Path(__file__).with_name("dying_executors.py")


@pytest.mark.skipif("PTUPCDR_ATTACK_EXECUTORS" not in os.environ, reason="takes minutes: make spark kills executors")
@pytest.mark.slow
@pytest.mark.timeout(1800)  # two sessions of several programs each
def test_executors_that_die_cost_no_row_and_no_number(spark_environment: dict[str, str], tmp_path: Path) -> None:
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
    stages = ["cleaning", "splitting", "least_squares", "lists"]
    assert json.loads(done.stdout.splitlines()[-1]) == stages, "one executor was killed in each"
    home, spark = Home(tmp_path / "duckdb"), Home(tmp_path / "spark")
    alone, made = Warehouse(home.warehouse), Warehouse(spark.warehouse)
    sides = [Domain(name=name, format="csv", path=str(folder)) for name, folder in folders.items()]
    for side in sides:
        Embedded().ingest_domain(side, alone)
    Embedded().build_split(Pair.of(PAIR), *sides, alone, SETTINGS)
    for asset, partition in (("raw_ratings", "books"), ("raw_ratings", "movies"), ("domain_splits", PAIR)):
        assert tables(made, asset, partition) == tables(alone, asset, partition)
    for side_name in SIDES:
        Embedded().pretrain(home, PAIR, side_name, SETTINGS, lambda epoch, metrics: None)
        expected, found = (weights(one, f"{side_name}_model_ranking") for one in (home, spark))
        for name, tensor in expected.items():
            np.testing.assert_allclose(found[name], tensor, rtol=0, atol=2e-6 * np.abs(tensor).max(), err_msg=name)
    lists = tables(made, "recommendations", PAIR)["recommendations"]
    Embedded().recommend_cold_users(spark, PAIR, SETTINGS)
    assert lists == tables(made, "recommendations", PAIR)["recommendations"]


def weights(home: Home, folder: str) -> dict[str, np.ndarray]:
    [file] = (home.models / folder).glob(f"{PAIR}-*.safetensors")
    return load_file(file)
