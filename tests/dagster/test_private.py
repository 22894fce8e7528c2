"""Canaries: the private interfaces of dagster and Great Expectations that are used here still do what they did.

A failure means that a new release has changed one. The module that the failing test names says what is used and why:
mend it there, or go back to the release that pyproject.toml names.
"""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg
import duckdb
import pytest
from conftest import tamper

from ptupcdr_core.store.home import Home
from ptupcdr_dagster.checks import duckdb_expectations

# isort: split
# After the import there, which is as it has to be.
import great_expectations as gx
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.render.view.view import DefaultJinjaPageView

from ptupcdr_dagster.checks.data_docs import page_of
from ptupcdr_dagster.checks.facts import Fact, no_rows
from ptupcdr_dagster.checks.validation import validate_table
from ptupcdr_dagster.running import private
from ptupcdr_dagster.running.executors import PRELOADED

ROOT = Path(__file__).parents[2]
DAGSTER = f"dagster {dg.__version__} differs: look at {private.__name__}"
EXPECTATIONS = f"great_expectations {gx.__version__} differs: look at {duckdb_expectations.__name__}"

PARTITIONS = dg.StaticPartitionsDefinition(["good", "bad", "broken"])
CHECK = Fact("is_good", "The partition is good.")


@dg.asset(partitions_def=PARTITIONS)
def thing(context: dg.AssetExecutionContext) -> None:
    if context.partition_key == "broken" or "broken" in context.run.tags:
        raise ValueError("no such thing")


@dg.multi_asset_check(specs=[CHECK.spec("thing", PARTITIONS)])
def thing_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(passed=context.partition_key == "good")


DEFINITIONS = dg.Definitions([thing], asset_checks=[thing_checks], jobs=[dg.define_asset_job("make", [thing])])


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def make(
    instance: dg.DagsterInstance, partition: str, run_id: str | None = None, *, broken: bool = False
) -> dg.ExecuteInProcessResult:
    job, tags = DEFINITIONS.resolve_job_def("make"), {"broken": "yes"} if broken else {}
    return job.execute_in_process(
        partition_key=partition, instance=instance, run_id=run_id, tags=tags, raise_on_error=False
    )


def latest(instance: dg.DagsterInstance, partition: str) -> dg.EventLogRecord:
    wanted = dg.AssetRecordsFilter(thing.key, asset_partitions=[partition])
    [record] = instance.fetch_materializations(wanted, limit=1).records
    return record


def test_dagster_tells_which_materialization_of_which_partition_passed(instance: dg.DagsterInstance) -> None:
    keys = [spec.key for spec in thing_checks.check_specs]
    for partition in ("good", "bad"):
        make(instance, partition)
    good, bad = latest(instance, "good"), latest(instance, "bad")
    assert private.all_checks_passed(instance, keys, "good", good), DAGSTER
    assert not private.all_checks_passed(instance, keys, "bad", bad), DAGSTER
    assert not private.all_checks_passed(instance, keys, "broken", good), DAGSTER
    make(instance, "good")
    assert not private.all_checks_passed(instance, keys, "good", good), f"{DAGSTER}: that was the one before"


def test_dagster_tells_which_checks_failed_when_they_were_last_made(instance: dg.DagsterInstance) -> None:
    """A run that broke off before its checks leaves them planned; what was said before holds."""
    keys = [spec.key for spec in thing_checks.check_specs]
    assert private.failed_checks(instance, keys, "bad") == []
    make(instance, "broken")
    assert private.failed_checks(instance, keys, "broken") == [], DAGSTER
    for partition in ("good", "bad"):
        make(instance, partition)
        make(instance, partition, broken=True)
    assert private.failed_checks(instance, keys, "good") == [], DAGSTER
    assert private.failed_checks(instance, keys, "bad") == keys, DAGSTER


def test_dagster_lets_one_listen_to_a_run(instance: dg.DagsterInstance) -> None:
    run_id, heard = "00000000-0000-0000-0000-000000000001", list[dg.EventLogEntry]()
    private.listen(instance, run_id, heard.append)
    make(instance, "good", run_id)
    events = [(e.dagster_event.event_type, e.dagster_event.step_key) for e in heard if e.dagster_event]
    for moment in (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS):
        assert (moment, "thing") in events, DAGSTER


def test_dagster_says_what_went_wrong_with_its_cause(instance: dg.DagsterInstance) -> None:
    [failure] = [e for e in make(instance, "broken").all_events if e.is_step_failure and e.step_key == "thing"]
    error = failure.step_failure_data.error
    assert isinstance(error, private.SerializableErrorInfo), DAGSTER
    assert error.cause is not None, DAGSTER
    assert error.cause.message.strip() == "ValueError: no such thing", DAGSTER


def test_dagster_makes_its_stores_when_they_are_opened(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    private.open_storages(instance)
    made = {file.name for file in tmp_path.rglob("*.db")}
    assert {"runs.db", "index.db", "schedules.db"} <= made, DAGSTER


def test_dagster_tells_which_assets_a_job_selects() -> None:
    assert private.assets_of_job(DEFINITIONS, "make") == {thing.key}, DAGSTER


MANY = Fact("few_rows", "There is no row.", (no_rows("select place from rows"),))
ATTACHED = Fact("no_other", "The other file is empty.", (no_rows("select place from other.rows where place = 0"),))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with duckdb.connect(str(tmp_path / "rows.duckdb")) as connection:
        connection.execute("create table rows as select range as place from range(1000)")
    return tmp_path / "rows.duckdb"


def found(file: Path, fact: Fact, **attached: Path) -> dg.AssetCheckResult:
    [result] = validate_table(file, "rows", "rows", [fact], attached=attached)
    return result


def test_great_expectations_reads_a_sample_of_what_it_finds_and_prints_nothing(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = found(file, MANY)
    assert not result.passed, EXPECTATIONS
    assert result.description == "200 or more violating rows, such as place=0; place=1", EXPECTATIONS
    assert capsys.readouterr().out == "", f"{EXPECTATIONS}: it prints at every query"


def test_great_expectations_reads_attached_files(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    other.write_bytes(file.read_bytes())
    result = found(file, ATTACHED, other=other)
    assert result.description == "1 violating row, such as place=0", EXPECTATIONS


def test_great_expectations_own_engine_still_needs_mending(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        duckdb_expectations.DuckDBExecutionEngine, "execute_query", SqlAlchemyExecutionEngine.execute_query
    )
    result = found(file, MANY)
    assert "violating rows" not in (result.description or ""), f"{EXPECTATIONS}: its own engine may now do"


def test_great_expectations_own_view_still_writes_values_as_markup(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duckdb_expectations, "SafePageView", DefaultJinjaPageView)
    tamper(file, "create or replace table rows as select '<b>bold</b>' as place")
    fact = Fact("none", "None.", (("ExpectColumnValuesToBeInSet", {"column": "place", "value_set": ["nobody"]}),))
    list(validate_table(file, "rows", "rows", [fact], documented=(Home(tmp_path), "one")))
    assert "<b>bold</b>" in page_of(Home(tmp_path), "rows", "one").read_text(), f"{EXPECTATIONS}: its own may now do"


@pytest.mark.parametrize(
    ("module", "needed", "library"),
    [
        (private, "dagster._core.event_api", "dagster"),
        (duckdb_expectations, "great_expectations.datasource.fluent.sql_datasource", "great_expectations"),
    ],
)
def test_what_has_moved_is_said(module: ModuleType, needed: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, needed, None)
    with pytest.raises(ImportError, match=rf"{library} [\d.]+ has moved .*{re.escape(module.__name__)}"):
        importlib.reload(module)


def test_nothing_else_reaches_into_dagster() -> None:
    sources = [file for folder in ("ptupcdr_dagster", "perf") for file in (ROOT / folder).rglob("*.py")]
    reach = re.compile(r"^\s*(from|import) (dagster\._|dagster_shared)", re.MULTILINE)
    assert [file.name for file in sources if reach.search(file.read_text())] == ["private.py"]


def test_who_has_pyspark_can_fork_steps(tmp_path: Path) -> None:
    """Forked from a server that is started by ``python -c``, as here, which Spark Connect takes for doctests."""
    connect = tmp_path / "pyspark" / "sql" / "connect"
    connect.mkdir(parents=True)
    for package in (connect.parents[1], connect.parent):
        (package / "__init__.py").touch()
    (connect / "__init__.py").write_text("import sys\nsys.exit(0)\n")
    program = f"import {PRELOADED[-1]}, pyspark.sql, sys; print('pyspark.sql.connect.session' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", done.stderr
