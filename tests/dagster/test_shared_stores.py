"""What machines share: Dagster's and MLflow's records in PostgreSQL, files of runs and models in an object store."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import adbc_driver_postgresql.dbapi
import mlflow_server
import postgres_server
import pytest
from conftest import CATALOG_PATH, PAIR
from programs import QUICK, ROOT, Project

from ptupcdr_core.store.home import Home

BUCKET = "shop"
WRITER = {
    "AWS_ACCESS_KEY_ID": "writer",
    "AWS_SECRET_ACCESS_KEY": "rhubarb/custard+7",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


@dataclass(frozen=True)
class Shared:
    """Running servers, and a project that has used them.

    Attributes:
        postgres: has the databases ``dagster`` and ``mlflow``.
        bucket: a client of the object store.
        project: its catalog and home.
        variables: what its programs have in their environment; no key of the object store is among it.
    """

    postgres: postgres_server.Postgres
    bucket: Any
    project: Project
    variables: dict[str, str]

    def query(self, database: str, text: str) -> list[tuple[Any, ...]]:
        """Rows of PostgreSQL."""
        address = self.postgres.address(user="owner", database=database)
        with adbc_driver_postgresql.dbapi.connect(address) as server, server.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def objects(self) -> list[str]:
        """Names of all objects."""
        listed = self.bucket.list_objects_v2(Bucket=BUCKET)
        assert not listed["IsTruncated"]
        return [entry["Key"] for entry in listed.get("Contents", [])]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    if find_spec("dagster_postgres") is None:
        pytest.skip("the extra postgres is not installed: make stores installs it and runs these tests")
    if (found := postgres_server.programs()) is None:
        pytest.skip("no PostgreSQL is installed (Debian: apt-get install postgresql)")
    import boto3
    from moto.server import ThreadedMotoServer

    root = tmp_path_factory.mktemp("shared")
    objects = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    objects.start()
    endpoint = f"http://127.0.0.1:{objects.get_host_and_port()[1]}"
    bucket = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=WRITER["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=WRITER["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    bucket.create_bucket(Bucket=BUCKET)
    with postgres_server.serving(found) as postgres:
        postgres.execute("create database dagster", "create database mlflow")
        store, keys = postgres.address(user="owner", database="mlflow"), WRITER | {"MLFLOW_S3_ENDPOINT_URL": endpoint}
        with mlflow_server.serving(root, store, f"s3://{BUCKET}/mlflow", **keys) as (mlflow, _):
            variables = {
                "DAGSTER_HOME": str(root / "instance"),
                "DAGSTER_POSTGRES_URL": postgres.address(user="owner", database="dagster"),
                "MLFLOW_TRACKING_URI": mlflow,
            }
            (root / "instance").mkdir()
            shutil.copy(ROOT / "deploy" / "dagster.yaml", root / "instance")
            project = Project(CATALOG_PATH, Home(root / "home"))
            done = project.run("backfill", PAIR, *QUICK, "--no-gate", **variables)
            assert done.returncode == 0, done.stdout + done.stderr
            yield Shared(postgres, bucket, project, variables)
    objects.stop()


def test_runs_are_in_postgresql(shared: Shared) -> None:
    finished = shared.query("dagster", "select status, count(*) from runs group by 1")
    assert finished == [("SUCCESS", 3)], "two domains and a pair"
    [(events,)] = shared.query(
        "dagster", "select count(distinct asset_key) from event_logs where asset_key is not null"
    )
    assert events > 10
    [(metrics,)] = shared.query("mlflow", "select count(*) from latest_metrics")
    assert metrics > 50


def test_files_are_in_the_bucket_and_none_in_the_home(shared: Shared) -> None:
    keys = shared.objects()
    assert any(key.endswith(".html") for key in keys), "the page of the pair"
    assert [key for key in keys if key.endswith("artifacts/people.parquet")]
    assert not [path for path in shared.project.home.mlflow.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_the_registered_model_is_loaded_from_the_bucket_and_answers(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared.variables["MLFLOW_TRACKING_URI"])
    served = mlflow.pyfunc.load_model(f"models:/ptupcdr-{PAIR}@deployed")
    [answer] = served.predict(pd.DataFrame({"user_id": [known_person(served)]})).to_dict("records")
    assert answer["status"] == "known"
    assert len(answer["items"]) == 10


def test_who_is_forgotten_stands_in_no_object(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    import pandas as pd

    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared.variables["MLFLOW_TRACKING_URI"])
    address = f"models:/ptupcdr-{PAIR}@deployed"
    person = known_person(mlflow.pyfunc.load_model(address))
    done = shared.project.run("forget", person, **shared.variables)
    assert done.returncode == 0, done.stderr
    assert re.search(r"MLflow run \w+: model-\w+/artifacts/people\.parquet", done.stdout)
    served = mlflow.pyfunc.load_model(address)
    [answer] = served.predict(pd.DataFrame({"user_id": [person]})).to_dict("records")
    assert answer["status"] == "unknown"
    bodies = {key: shared.bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in shared.objects()}
    assert [key for key, body in bodies.items() if person.encode() in body] == []


def test_a_server_that_fails_leaves_nobody_half_forgotten_in_silence(shared: Shared) -> None:
    done = shared.project.run("forget", "nobody", **shared.variables | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"})
    assert done.returncode == 1
    assert "Connection refused; files there may still name these people: run the command again" in done.stderr


def test_old_runs_are_thrown_away_in_postgresql_too(shared: Shared) -> None:
    done = shared.project.run("prune", "--older-than", "0", **shared.variables)
    assert done.returncode == 0, done.stderr
    assert shared.project.run("doctor", **shared.variables).returncode == 0


def known_person(served: Any) -> str:
    """Somebody whom a version can serve by their id alone."""
    return str(served.unwrap_python_model().known.rated["user_id"][0])
