"""A small real cluster for all tests here, of two processes; without pyspark or Java they are skipped and say so."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "core")]

from ptupcdr_core.errors import EngineError
from ptupcdr_core.extensions import added_engines
from ptupcdr_spark.engine import SPARK

# Of what short tests cost, a better compiler and a parallel garbage collector would be a third. Nobody who is late on a
# busy machine is given up: a worker, an executor, Python that fetches rows.
DEFAULTS = """
spark.sql.shuffle.partitions 3
spark.ui.enabled false
spark.driver.memory 1g
spark.driver.host 127.0.0.1
spark.driver.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.network.timeout 600s
spark.worker.timeout 600
spark.python.authenticate.socketTimeout 600s
spark.executor.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
"""

FEW = 40
"""Rows, at most, that a query brings to the driver: some for each file, or for each block, of which tests have few."""


@pytest.fixture(scope="package")
def spark_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables that a program needs to use Spark here; set in this process too."""
    if "spark" not in added_engines():
        pytest.skip("this project was installed before it had the engine: install it again")
    try:
        SPARK.require()
    except EngineError as error:
        pytest.skip(f"{error}; make test does so where it finds Java")
    conf = tmp_path_factory.mktemp("conf")
    (conf / "spark-defaults.conf").write_text(DEFAULTS)
    own = {"SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": "127.0.0.1", "PTUPCDR_SPARK": "local-cluster[2,1,1024]"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        yield own


@pytest.fixture(scope="package")
def spark(spark_environment: dict[str, str]) -> Iterator[None]:
    """One session for all tests; it ends with its programs after the last of them, for this process may go on."""
    from ptupcdr_spark.session import open_session

    session = open_session()
    yield
    session.stop()
    for program in psutil.Process().children():
        if program.name() == "java":
            program.terminate()
            program.wait(60)


@pytest.fixture(autouse=True)
def nothing_that_grows_with_ratings_or_people_comes_to_the_driver(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test here may bring more than ``FEW`` rows at once from Spark to this process."""
    if "spark" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("spark")
    from pyspark.sql.classic.dataframe import DataFrame

    def counted(method: Callable[[DataFrame], Any]) -> Callable[[DataFrame], Any]:
        def called(frame: DataFrame) -> Any:
            found = method(frame)
            assert len(found) <= FEW, (
                f"{method.__name__} has brought {len(found)} rows of {frame.columns} to the driver"
            )
            return found

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name in ("collect", "toArrow", "toPandas"):
            patch.setattr(DataFrame, name, counted(getattr(DataFrame, name)))
        patch.delattr(DataFrame, "toLocalIterator")
        yield
