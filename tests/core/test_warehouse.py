"""Tables are replaced whole, and readers, writers and other processes do not disturb each other."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from ptupcdr_core.errors import StorageError, WarehouseError
from ptupcdr_core.store.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse", threads=2)


def put(warehouse: Warehouse, partition: str, value: int, asset: str = "numbers") -> None:
    with warehouse.write(asset, partition, fingerprint=f"made of {value}", settings={"beta": 0.2}) as connection:
        connection.execute(f"create table numbers as select '{partition}' as pair, {value} as value")


def get(warehouse: Warehouse, partition: str) -> int:
    with warehouse.read("numbers", partition) as connection:
        return connection.execute("select value from numbers").fetchall()[0][0]


def look(warehouse: Warehouse, query: str) -> list[tuple]:
    """What a person sees who opens the catalog of views."""
    with duckdb.connect(str(warehouse.catalog), read_only=True) as connection:
        return connection.execute(query).fetchall()


def leftovers(warehouse: Warehouse) -> list[str]:
    return [path.name for path in warehouse.root.rglob("*") if path.is_file() and path.suffix in (".tmp", ".wal")]


def test_what_was_written_is_read_and_nothing_else_lies_about(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    assert get(warehouse, "a__b") == 1
    assert warehouse.exists("numbers", "a__b")
    assert not warehouse.exists("numbers", "b__a")
    assert warehouse.partitions("numbers") == ["a__b"]
    assert warehouse.partitions("letters") == []
    assert leftovers(warehouse) == []
    assert not list(warehouse.root.glob(".spill*"))


def test_each_file_says_where_it_comes_from(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    with warehouse.read("numbers", "a__b") as connection:
        row = connection.execute('select asset, "partition", fingerprint, settings from provenance').fetchall()
    assert row == [("numbers", "a__b", "made of 1", json.dumps({"beta": 0.2}))]
    assert look(warehouse, "select asset, fingerprint from provenance") == [("numbers", "made of 1")]


def test_a_failed_write_leaves_the_old_table_untouched(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    before = warehouse.file("numbers", "a__b").stat()
    with pytest.raises(duckdb.ConversionException), warehouse.write("numbers", "a__b") as connection:
        connection.execute("create table numbers as select 2 as value; select 'two'::integer")
    after = warehouse.file("numbers", "a__b").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert get(warehouse, "a__b") == 1
    assert leftovers(warehouse) == []


def test_a_missing_partition_names_the_command_that_makes_it(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match=r"numbers of a__b .*--select numbers --partition a__b"):
        get(warehouse, "a__b")


def test_a_reader_that_stays_keeps_the_old_rows_and_the_next_one_sees_the_new(warehouse: Warehouse) -> None:
    """DuckDB keeps one instance a path and process; a replaced file must be seen all the same."""
    put(warehouse, "a__b", 1)
    # Somebody else in this process, a data check for example, holds the file itself open.
    with duckdb.connect(str(warehouse.file("numbers", "a__b")), read_only=True) as outsider:
        with warehouse.read("numbers", "a__b") as early:
            put(warehouse, "a__b", 2)
            assert early.execute("select value from numbers").fetchall() == [(1,)]
            assert get(warehouse, "a__b") == 2
        assert outsider.execute("select value from numbers").fetchall() == [(1,)]
    assert look(warehouse, "select value from numbers") == [(2,)]


def test_a_reader_cannot_write(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    with warehouse.read("numbers", "a__b") as connection, pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("delete from numbers")


def test_views_show_all_partitions_and_whoever_holds_them_open_blocks_nobody(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    with duckdb.connect(str(warehouse.catalog)) as person:
        assert person.execute("from numbers").fetchall() == [("a__b", 1)]
        put(warehouse, "b__a", 2)
        put(warehouse, "a__b", 3)
        assert person.execute("from numbers").fetchall() == [("a__b", 3)], "the file they look at was replaced"
    assert look(warehouse, "from numbers order by pair") == [("a__b", 3), ("b__a", 2)]


def test_embeddings_of_different_sizes_stand_in_one_view(warehouse: Warehouse) -> None:
    for pair, size in (("a__b", 2), ("b__a", 3)):
        embedding = pa.FixedSizeListArray.from_arrays(pa.array(range(size), pa.float32()), size)
        made = pa.table({"pair": [pair], "embedding": embedding})
        with warehouse.write("bridged_embeddings", pair) as connection:
            connection.register("made", made)
            connection.execute("create table bridged_embeddings as from made")
    with warehouse.read("bridged_embeddings", "b__a") as connection:
        assert connection.table("bridged_embeddings").types[1] == "FLOAT[3]", "fixed size inside the file"
    assert look(warehouse, "from bridged_embeddings order by pair") == [("a__b", [0, 1]), ("b__a", [0, 1, 2])]
    similar = "select list_cosine_similarity(embedding, embedding) from bridged_embeddings"
    assert look(warehouse, similar) == [(1,), (1,)]


def test_views_cope_with_later_columns_and_names_with_quotes(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    with warehouse.write("numbers", "b__a") as connection:
        connection.execute('create table numbers as select \'b__a\' as pair, 2 as value, \'x\' as "new ""one"""')
        connection.execute('create table "it\'s" as select 1 as one')
    assert look(warehouse, "from numbers order by pair") == [("a__b", 1, None), ("b__a", 2, "x")]
    assert look(warehouse, 'from "it\'s"') == [(1,)]


def test_a_damaged_file_is_named_and_keeps_no_other_from_being_written(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    warehouse.file("numbers", "a__b").write_bytes(b"broken")
    put(warehouse, "b__a", 2)
    assert look(warehouse, "from numbers") == [("b__a", 2)]
    with pytest.raises(WarehouseError, match=r"a__b\.duckdb is damaged .*: materialize numbers for a__b again"):
        get(warehouse, "a__b")


def test_an_older_duckdb_can_read_the_files(warehouse: Warehouse) -> None:
    put(warehouse, "a__b", 1)
    with warehouse.read("numbers", "a__b") as connection:
        options = connection.execute("select tags from duckdb_databases() where database_name = 'partition_file'")
        assert "v1.4" in str(options.fetchall())


def test_limits_come_from_the_environment_and_reach_duckdb(tmp_path: Path) -> None:
    limits = {"PTUPCDR_MEMORY_LIMIT": "512MiB", "PTUPCDR_THREADS": "1"}
    warehouse = Warehouse.from_environment(tmp_path, limits)
    settings = "select current_setting('memory_limit'), current_setting('threads'), current_setting('TimeZone')"
    with warehouse.write("numbers", "a__b") as connection:
        assert connection.execute(settings).fetchall() == [("512.0 MiB", 1, "UTC")]
    assert Warehouse.from_environment(tmp_path, {}) == Warehouse(tmp_path)


@pytest.mark.parametrize("threads", ["0", "many", "-1", "1.5"])
def test_an_invalid_limit_is_refused(tmp_path: Path, threads: str) -> None:
    with pytest.raises(WarehouseError, match="PTUPCDR_THREADS"):
        Warehouse.from_environment(tmp_path, {"PTUPCDR_THREADS": threads})


def test_a_memory_limit_that_duckdb_does_not_understand_is_refused(tmp_path: Path) -> None:
    warehouse = Warehouse.from_environment(tmp_path, {"PTUPCDR_MEMORY_LIMIT": "lots"})
    with pytest.raises(WarehouseError, match="PTUPCDR_MEMORY_LIMIT"), warehouse.write("numbers", "a__b"):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    warehouse = Warehouse(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot be written"), warehouse.write("numbers", "a__b"):
        pass


def test_errors_of_the_block_pass_through_unchanged(warehouse: Warehouse) -> None:
    with pytest.raises(FileNotFoundError, match="ours"), warehouse.write("numbers", "a__b"):
        raise FileNotFoundError("ours")


WRITER = """
import sys
from pathlib import Path
from ptupcdr_core.store.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]), threads=1)
for turn in range(8):
    for pair in (sys.argv[2], "contested"):
        with warehouse.write("numbers", pair) as connection:
            connection.execute(f"create table numbers as select '{pair}' pair, {turn} value from range(1000)")
"""


def test_three_processes_write_at_once_beside_a_reader(warehouse: Warehouse) -> None:
    """Two pairs each, one of them the same for all: no lock error, no broken table, and readers never fail."""
    put(warehouse, "contested", -1)
    command = [sys.executable, "-c", WRITER, str(warehouse.root)]
    writers = [subprocess.Popen([*command, pair], stderr=subprocess.PIPE) for pair in ("a__b", "b__a", "a__c")]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        with warehouse.read("numbers", "contested") as connection:
            rows = connection.execute("select count(*), count(distinct value), max(value) from numbers").fetchall()
        assert rows[0][:2] in {(1, 1), (1000, 1)}, "never half a table"
        seen.add(rows[0][2])
        look(warehouse, "select count(*) from numbers")
    assert [writer.communicate()[1] for writer in writers] == [b"", b"", b""]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    counts = look(warehouse, "select pair, count(*), max(value) from numbers group by pair order by pair")
    assert counts == [("a__b", 1000, 7), ("a__c", 1000, 7), ("b__a", 1000, 7), ("contested", 1000, 7)]
    assert leftovers(warehouse) == []
    assert len(seen) > 1
