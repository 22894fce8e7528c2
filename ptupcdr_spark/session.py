"""The Spark session at the address in ``PTUPCDR_SPARK``; everything else is set in Spark's spark-defaults.conf."""

import os
import sys
import warnings
from collections.abc import Mapping

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from ptupcdr_core.errors import EngineError, first_line

VARIABLE = "PTUPCDR_SPARK"
EXAMPLES = "spark://HOST:7077, yarn, k8s://https://HOST, local[4] or local-cluster[2,1,2048]"


def open_session(environment: Mapping[str, str] | None = None) -> SparkSession:
    """The session of this process; all cores of this machine where no master is named.

    Raises:
        EngineError: there is no cluster at that address.
    """
    variables = os.environ if environment is None else environment
    master = variables.get(VARIABLE, "").strip() or "local[*]"
    # Tables go to functions as Arrow here, never as frames.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    # Unless told otherwise, executors run the Python at the path of this one; its packages have to be there.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        session = SparkSession.builder.master(master).appName("ptupcdr").getOrCreate()
    except (PySparkException, Py4JError) as error:
        raise EngineError(
            f"{VARIABLE}={master}: no Spark session ({first_line(error)}); what Spark printed says more. "
            f"Expected the address of a cluster that runs: {EXAMPLES}"
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    return session
