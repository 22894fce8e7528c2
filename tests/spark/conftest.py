"""A Spark session with two threads for all tests here; without pyspark or Java they are skipped and say so."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from ptupcdr_core.extensions import added_engines

DEFAULTS = """
spark.sql.shuffle.partitions 3
spark.ui.enabled false
spark.driver.memory 1g
spark.driver.host 127.0.0.1
"""


@pytest.fixture(scope="session")
def spark_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables that a program needs to use Spark here; set in this process too."""
    if "spark" not in added_engines():
        pytest.skip("this project was installed before it had the engine: install it again")
    if find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed: make spark installs it and runs these tests")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("there is no Java runtime: apt-get install default-jre-headless")
    conf = tmp_path_factory.mktemp("conf")
    (conf / "spark-defaults.conf").write_text(DEFAULTS)
    own = {"SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": "127.0.0.1", "PTUPCDR_SPARK": "local[2]"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        yield own


@pytest.fixture(scope="session")
def spark(spark_environment: dict[str, str]) -> Iterator[None]:
    """One session for all tests, stopped at the end."""
    from ptupcdr_spark.session import open_session

    session = open_session()
    yield
    session.stop()
