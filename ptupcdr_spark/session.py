"""The Spark session that ``PTUPCDR_SPARK`` names; all else that Spark can be told stands in spark-defaults.conf."""

import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from pyspark.errors import PySparkException, PySparkRuntimeError
from pyspark.sql import SparkSession

from ptupcdr_core.errors import EngineError

VARIABLE = "PTUPCDR_SPARK"
EXAMPLES = "spark://HOST:7077, yarn, k8s://https://HOST, local[4] or local-cluster[2,1,2048]"


def open_session(environment: Mapping[str, str] | None = None) -> SparkSession:
    """The session of this process; all cores of this machine where no master is named.

    Raises:
        EngineError: there is no Java, or no cluster at that address.
    """
    variables = os.environ if environment is None else environment
    master = variables.get(VARIABLE, "").strip() or "local[*]"
    _require_java(variables)
    # Tables go to functions as Arrow here, never as frames.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    # Executors that were told nothing else run the Python that this is: its packages have to be there.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        session = (
            SparkSession.builder.master(master)
            .appName("ptupcdr")
            # Texts that name no zone are UTC, as in DuckDB's sessions.
            .config("spark.sql.session.timeZone", "UTC")
            .getOrCreate()
        )
    except (PySparkException, PySparkRuntimeError) as error:
        raise EngineError(f"{VARIABLE}={master}: no Spark session ({error}); expected {EXAMPLES}") from error
    session.sparkContext.setLogLevel("ERROR")
    return session


def _require_java(variables: Mapping[str, str]) -> None:
    home = variables.get("JAVA_HOME", "")
    if not (shutil.which("java") or (home and (Path(home) / "bin" / "java").is_file())):
        raise EngineError(
            'engine = "spark" needs a Java runtime (17 or 21) and none is found: install one, for example Debian\'s '
            "default-jre-headless, or set JAVA_HOME"
        )
