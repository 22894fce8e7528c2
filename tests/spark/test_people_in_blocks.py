"""People served in blocks on Spark: the same embeddings and lists as on one machine."""

import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from small_lineage import PAIR, domains, write_ratings

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.pair_data import SIDES
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import CANDIDATE, DEPLOYED, bundle_file
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.sources.items import Items
from ptupcdr_core.stages import embeddings, recommendations
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.stages.row_engine import Embedded
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

pytest.importorskip("pyspark", reason="pyspark is not installed: make test does so where it finds Java")

from ptupcdr_spark import people
from ptupcdr_spark.engine import SPARK

pytestmark = pytest.mark.usefixtures("spark")
SETTINGS = Settings(embedding_size=6, ranking_size=8, top_k=5)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """What stands before embeddings and lists, made on one machine, and deployed whatever the gate would say."""
    root = tmp_path_factory.mktemp("deployed")
    home, sides = Home(root / "home"), domains(write_ratings(root))
    warehouse = Warehouse(home.warehouse)
    for side in sides:
        ingest_domain(side, warehouse)
    build_split(Pair.of(PAIR), *sides, warehouse, SETTINGS)
    for name in SIDES:
        pretrain(home, PAIR, name, SETTINGS, silent)
    train_bridges(home, PAIR, SETTINGS, silent)
    Bundle.load(bundle_file(home, CANDIDATE, PAIR)).save(bundle_file(home, DEPLOYED, PAIR))
    return home


def silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


def table(home: Home, name: str) -> pa.Table:
    with Warehouse(home.warehouse).read(name, PAIR) as connection:
        found: pa.Table = connection.sql(f"from {name}").to_arrow_table()
    return found


def assert_alike(made: pa.Table, expected: pa.Table, *rounded: str, tolerance: float) -> None:
    assert made.schema == expected.schema
    assert made.drop(rounded) == expected.drop(rounded)
    for column in rounded:
        got, wanted = (rows[column].combine_chunks().to_pylist() for rows in (made, expected))
        for ours, theirs in zip(got, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=column)


def both(home: Home, stage: str, asset: str, *given: object) -> tuple[list[pa.Table], list[StageReport]]:
    tables, reports = [], []
    for engine in (Embedded(), SPARK):
        reports.append(getattr(engine, stage)(home, PAIR, SETTINGS, "", *given))
        tables.append(table(home, asset))
    return tables, reports


def test_bridged_embeddings_are_those_of_one_machine(deployed: Home, tmp_path: Path) -> None:
    home = Home(shutil.copytree(deployed.root, tmp_path / "home"))
    with mock.patch.object(embeddings, "USERS", 300):
        (expected, made), reports = both(home, "bridge_cold_users", embeddings.ASSET)
    assert_alike(made, expected, "embedding", tolerance=1e-6)
    assert reports[1].metrics == pytest.approx(reports[0].metrics, rel=1e-6)
    counted = [sorted(report.tables["users_by_cohort"].itertuples(index=False, name=None)) for report in reports]
    assert counted[1] == counted[0]


def test_lists_and_reasons_are_those_of_one_machine(deployed: Home, tmp_path: Path) -> None:
    home = Home(shutil.copytree(deployed.root, tmp_path / "home"))
    known = Items(titles={"movies-0001": "The first"}, eligible=frozenset(f"movies-{n:04}" for n in range(150)))
    with mock.patch.object(people, "RATINGS", 3_000):
        (expected, made), reports = both(home, "recommend_cold_users", recommendations.ASSET, known)
    assert len(made) > 100
    assert_alike(made, expected, "score", "reason_weights", "stars", "median", "likely", tolerance=1e-6)
    drift = ("drift", "overlap")  # the second night is beside the first
    told = [{name: value for name, value in report.metrics.items() if not name.startswith(drift)} for report in reports]
    assert told[1] == pytest.approx(told[0])
