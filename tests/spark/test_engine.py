"""Engines in the catalog, and the error when one is not available."""

import os
import subprocess
import sys
from importlib import util
from pathlib import Path
from unittest import mock

import duckdb
import pytest
from ratings_files import as_delimited, pack

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import CatalogError, EngineError
from ptupcdr_core.extensions import added_engines
from ptupcdr_core.stages.row_engine import Embedded, engine_of
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_spark.engine import SPARK

KNOWN = pytest.mark.skipif(
    "spark" not in added_engines(), reason="this project was installed before it had the engine: install it again"
)
BOOKS = Domain(name="books", format="demo")
PAIR = '[[pairs]]\nsource = "books"\ntarget = "movies"\n'


@KNOWN
def test_a_pair_is_on_spark_if_either_side_is() -> None:
    other = BOOKS.model_copy(update={"name": "movies", "engine": "spark"})
    assert isinstance(engine_of(BOOKS), Embedded)
    assert engine_of(BOOKS, other) is engine_of(other, BOOKS) is engine_of(other, other) is SPARK


def test_an_engine_makes_nothing_stale() -> None:
    assert BOOKS.model_copy(update={"engine": "spark"}).entry() == BOOKS.entry()


@KNOWN
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('format = "demo"\nengine = "hive"', r"domains\.books\.engine: expected one of duckdb, spark, got 'hive'"),
        (
            'format = "postgres"\npath = "postgresql://u@h/d"\ntable = "t"\nscale = [1, 5]\nengine = "spark"',
            r"domains\.books\.engine: expected duckdb",
        ),
    ],
)
def test_another_engine_is_refused(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "domains.toml"
    path.write_text(f'[domains.books]\n{line}\n[domains.movies]\nformat = "demo"\n{PAIR}')
    with pytest.raises(CatalogError, match=told):
        load_catalog(path)


def test_without_pyspark_the_extra_is_named(tmp_path: Path) -> None:
    with (
        mock.patch("ptupcdr_spark.engine.find_spec", lambda name: None if name == "pyspark" else util.find_spec(name)),
        pytest.raises(EngineError, match=r"pip install 'ptupcdr-dagster\[spark\]'"),
    ):
        SPARK.ingest_domain(BOOKS, Warehouse(tmp_path))


def test_without_java_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with (
        mock.patch("ptupcdr_spark.engine.find_spec"),
        mock.patch("ptupcdr_spark.engine.shutil.which", return_value=None),
        pytest.raises(EngineError, match="default-jre-headless"),
    ):
        SPARK.require()


def test_an_address_that_is_none_is_named(spark_environment: dict[str, str]) -> None:
    """In a process of its own, since this one may have a session."""
    program = "from ptupcdr_spark.session import open_session; open_session()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PTUPCDR_SPARK": "nonsense"}, capture_output=True, text=True
    )
    assert "EngineError: PTUPCDR_SPARK=nonsense: no Spark session" in done.stderr
    assert "spark://HOST:7077" in done.stderr


def test_views_of_both_engines_stand_together(spark: None, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "it's" / "warehouse")
    for name, engine in (("books", "spark"), ("movies", "duckdb"), ("music", "spark")):
        path = pack(tmp_path / f"{name}.csv", as_delimited([("ann", f"{name}-1", 3, 5)]))
        domain = Domain(name=name, format="csv", path=str(path), engine=engine)
        engine_of(domain).ingest_domain(domain, warehouse)
    with duckdb.connect(str(warehouse.catalog), read_only=True) as connection:
        found = connection.execute("select domain, item_id from raw_ratings order by domain").fetchall()
    assert found == [("books", "books-1"), ("movies", "movies-1"), ("music", "music-1")]


def test_an_earlier_version_can_be_read_for_a_day(spark: None, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse")
    path = tmp_path / "books.csv"
    domain = Domain(name="books", format="csv", path=str(path), engine="spark")

    def ingest(item: str) -> None:
        pack(path, as_delimited([("ann", item, 3, 5)]))
        engine_of(domain).ingest_domain(domain, warehouse)

    ingest("first")
    with warehouse.read("raw_ratings", "books") as reader:
        ingest("second")
        assert reader.execute("select item_id from raw_ratings").fetchall() == [("first",)]
    [mark] = warehouse.folder("raw_ratings", "books").glob("*/_retired")
    os.utime(mark, (0, 0))
    ingest("third")
    assert not mark.parent.exists()
    with warehouse.read("raw_ratings", "books") as reader:
        assert reader.execute("select item_id from raw_ratings").fetchall() == [("third",)]
    Embedded().ingest_domain(domain, warehouse)
    folders = [*warehouse.folder("raw_ratings", "books").iterdir()]
    assert all((folder / "_retired").is_file() for folder in folders), "DuckDB's own table has taken their place"
