"""Reused DuckDB instances: the next reader sees nothing of the one before, and no replaced file."""

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from ptupcdr_core.store import instances
from ptupcdr_core.store.instances import instance
from ptupcdr_core.store.warehouse import Warehouse


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path | None]]:
    """What is opened; no idle one is there before, and none is left."""
    instances.close_idle()
    found: list[Path | None] = []
    real = instances.open_database

    def noted(path: Path | None, config: dict) -> duckdb.DuckDBPyConnection:
        found.append(path)
        return real(path, config)

    monkeypatch.setattr(instances, "open_database", noted)
    yield found
    instances.close_idle()


def one(connection: duckdb.DuckDBPyConnection, query: str) -> object:
    [(found,)] = connection.execute(query).fetchall()
    return found


def test_it_is_used_again_and_holds_nothing_of_the_reader_before(opened: list, tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "a.duckdb")).close()
    with instance() as connection:
        connection.execute(f"attach '{tmp_path / 'a.duckdb'}' as a; use a; set variable mine = 3; set TimeZone = 'EST'")
        connection.execute("create temp table mine as select 1; create temp macro twice(x) as 2 * x")
        connection.register("given", duckdb.sql("select 2 as x").to_arrow_table())
    with instance() as connection:
        assert one(connection, "select count(*) from duckdb_databases() where not internal") == 1
        assert one(connection, "select getvariable('mine')") is None
        assert one(connection, "select current_setting('TimeZone')") != "EST"
        for lost in ("from mine", "select twice(1)", "from given"):
            with pytest.raises(duckdb.CatalogException):
                connection.execute(lost)
    assert len(opened) == 1


def test_readers_within_each_other_have_one_each(opened: list) -> None:
    with instance(), instance():
        pass
    assert len(opened) == 2
    with instance({"threads": 1}) as limited:
        assert one(limited, "select current_setting('threads')") == 1
    assert len(opened) == 3, "those of another configuration are no use"


def test_one_that_failed_or_keeps_a_table_is_not_used_again(opened: list) -> None:
    with pytest.raises(duckdb.CatalogException), instance() as connection:
        connection.execute("from nowhere")
    with instance() as connection:
        connection.execute("create table kept as select 1")
    with instance() as connection:
        assert one(connection, "select count(*) from duckdb_tables()") == 0
    assert len(opened) == 3


def test_a_folder_that_was_spilled_into_goes_and_the_instance_with_it(opened: list, tmp_path: Path) -> None:
    for at in range(2):
        spill = tmp_path / f"spill-{at}"
        with instance({"memory_limit": "20MB", "threads": 1}, spill) as connection:
            connection.execute("create temp table much as select hash(i)::varchar as x from range(2_000_000) t(i)")
            assert any(spill.iterdir())
        assert not spill.exists()
    assert len(opened) == 2


def test_an_idle_one_keeps_no_memory_and_its_own_limit(opened: list) -> None:
    process, config = psutil.Process(), {"memory_limit": "2GB"}
    with instance(config):
        pass
    before = process.memory_info().rss
    with instance(config) as connection:
        connection.execute("create temp table much as select random() as x from range(5_000_000)")
        one(connection, "select count(distinct x) from much")
        assert process.memory_info().rss - before > 1 << 27
    assert process.memory_info().rss - before < 1 << 26
    with instance(config) as connection:
        assert one(connection, "select current_setting('memory_limit')") == "1.8 GiB"
    assert len(opened) == 1


def test_a_replaced_file_is_read_anew(opened: list, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    for wanted in (1, 2):
        with warehouse.write("numbers", "all") as connection:
            connection.execute(f"create table numbers as select {wanted} as n")
        for _ in range(2):
            with warehouse.read("numbers", "all") as connection:
                assert one(connection, "select n from numbers") == wanted


def test_a_fork_has_its_own(opened: list) -> None:
    with instance():
        pass
    child = os.fork()
    if child == 0:
        with instance() as connection:
            os._exit(0 if one(connection, "select sum(i) from range(3_000_000) t(i)") else 1)
    assert os.waitpid(child, 0)[1] == 0
