"""Partitions run at once, each in its own process: what they make, and what happens when one dies."""

import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import dagster as dg
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # a process that is started here looks for this folder's conftest too

from conftest import CATALOG_PATH, PAIR, SETTINGS, copied

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.jobs import BRIDGE_PAIR, INGEST_DOMAIN
from ptupcdr_dagster.partitions import CATALOG
from ptupcdr_dagster.resources import run_config
from ptupcdr_dagster.running.backfill import Backfill
from ptupcdr_dagster.running.freshness import MODELS, stored_provenance
from ptupcdr_dagster.running.instance import open_instance
from ptupcdr_dagster.running.partition import Report, Work
from ptupcdr_dagster.running.planning import lineage
from ptupcdr_dagster.running.side_by_side import run_side_by_side
from ptupcdr_dagster.running.turns import end_with_parent

DOMAINS = [Work(INGEST_DOMAIN, domain, SETTINGS, run_config(SETTINGS)) for domain in ("books", "movies")]


@pytest.fixture(scope="module", autouse=True)
def forked_in_another_environment() -> None:
    """The fork server, unless it runs already, is started with a variable that is gone when it is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", os.devnull)
        forkserver.ensure_running()


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("PTUPCDR_HOME", str(tmp_path))
    monkeypatch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))
    for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    yield copied(empty_store, Home(tmp_path))
    os.environ.pop("DAGSTER_HOME", None)


def run(home: Home, workers: int, hear: Callable[[str, str, str], None]) -> dict[str, Report]:
    return dict(run_side_by_side(home, DOMAINS, workers, hear))


def test_all_are_made_and_recorded_and_their_progress_is_heard(home):
    heard = []
    found = run(home, 2, lambda *news: heard.append(news))
    assert {partition: report.made for partition, report in found.items()} == {
        domain: {domain: ["raw_ratings"]} for domain in ("books", "movies")
    }
    assert not any(report.failures for report in found.values())
    assert {("books", "raw_ratings", "done"), ("movies", "raw_ratings", "done")} <= set(heard)
    for domain in found:
        assert Warehouse(home.warehouse).exists("raw_ratings", domain)
    with open_instance(home) as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("raw_ratings")) == set(found)


def test_a_killed_process_fails_its_own_partition_alone(home):
    def kill(partition: str, _asset: str, state: str) -> None:
        if (partition, state) == ("books", "started"):
            [process] = multiprocessing.active_children()
            os.kill(process.pid, signal.SIGKILL)

    found = run(home, 1, kill)
    [finding] = found["books"].failures
    assert finding.partition == "books"
    assert "exit code -9" in finding.message
    assert "PTUPCDR_MEMORY_LIMIT" in finding.message
    assert found["movies"].made == {"movies": ["raw_ratings"]}


@pytest.mark.parametrize("moment", ["started", "done"])
def test_an_interrupt_ends_what_runs_and_starts_nothing_more(home, moment):
    """Before the ratings are made, or when they are but for their checks: either way they are made again."""

    def interrupt(_partition: str, asset: str, state: str) -> None:
        if (asset, state) == ("raw_ratings", moment):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    found = run(home, 1, interrupt)
    assert list(found) == ["books"]
    assert found["books"].interrupted
    assert signal.getsignal(signal.SIGINT) == before
    with open_instance(home) as instance:
        plan = Backfill(instance, home, SETTINGS).plan([CATALOG.pair(PAIR)])
    assert plan[INGEST_DOMAIN, "books"] == ["raw_ratings"]


def test_two_backfills_of_one_pair_take_turns(home):
    """Of different seeds: one waits, and is told for whom; a kill lets the pair go, and everything is made anew."""
    run(home, 2, lambda *news: None)
    seeds = [SETTINGS.model_copy(update={"seed": seed, "mode": "rating"}) for seed in (1, 2)]
    heard: list[tuple[str, ...]] = []
    kills: list[tuple[str, ...]] = []

    def hear(*news: str) -> None:
        heard.append(news)
        if news[1:] == ("target_model", "started") and not kills:
            kills.append(news)
            [waited] = [news for news in heard if news[2] == "waiting"]
            os.kill(int(re.search(r"process (\d+)", waited[1])[1]), signal.SIGKILL)

    work = [Work(BRIDGE_PAIR, PAIR, settings, run_config(settings)) for settings in seeds]
    first, second = (report for _, report in run_side_by_side(home, work, 2, hear))
    [waited] = [news for news in heard if news[2] == "waiting"]
    assert waited[0] == PAIR
    assert re.fullmatch(r"process \d+ \(`.+`, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\)", waited[1])
    assert "exit code -9" in first.failures[0].message
    assert second.failures == []
    assert second.made == {PAIR: lineage(BRIDGE_PAIR)}
    stored = [stored_provenance(home, asset, PAIR) for asset in (*MODELS, "domain_splits", "cold_start_evaluation")]
    assert len({entry["settings"]["seed"] for entry in stored}) == 1, "no mixture"


def test_what_a_killed_backfill_started_ends_with_it(home):
    """Else it would go on writing while the next backfill has the pair."""
    context = multiprocessing.get_context("forkserver")
    told, tell = context.Pipe(duplex=False)
    backfill = context.Process(target=_start_one, args=(tell,))
    backfill.start()
    tell.close()
    child = told.recv()
    assert psutil.Process(child).status() != psutil.STATUS_ZOMBIE
    os.kill(backfill.pid, signal.SIGKILL)
    backfill.join()
    with pytest.raises(EOFError):
        told.recv()


def _start_one(tell):
    child = multiprocessing.get_context("forkserver").Process(target=_sleep, args=(tell,))
    child.start()
    tell.send(child.pid)
    tell.close()
    child.join()


def _sleep(tell):
    end_with_parent()
    time.sleep(60)
