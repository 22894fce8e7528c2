"""Which of several ratings of one item is kept, and that nothing goes missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ratings_files import WITHOUT_TIME, as_delimited, ingest, kept, pack, rejected

from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.store.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse", threads=2)


def test_the_latest_rating_of_an_item_is_kept(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [("ann", "1", 1, 30), ("ann", "1", 2, 10), ("ann", "1", 3, 20), ("bob", "1", 4, 5)]
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited(rows)))
    assert kept(warehouse) == [("ann", "1", 1.0, 30.0), ("bob", "1", 4.0, 5.0)]
    assert rejected(warehouse) == [("superseded", 2), ("superseded", 3)]


def test_at_equal_times_the_last_in_the_file_is_kept(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [("ann", "1", 1, 7), ("ann", "1", 2, 7), ("ann", "1", 3, 7)]
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited(rows)))
    assert [row[2] for row in kept(warehouse)] == [3.0]


def test_without_times_the_last_of_the_last_file_is_kept(warehouse: Warehouse, tmp_path: Path) -> None:
    for name, stars in (("b", (3, 4)), ("a", (1, 2))):
        pack(tmp_path / f"{name}.csv", as_delimited([("ann", "1", star, 0) for star in stars]))
    ingest(warehouse, tmp_path / "*.csv", columns=WITHOUT_TIME)
    assert [row[2] for row in kept(warehouse)] == [4.0]


def test_a_known_time_beats_an_unknown_one(warehouse: Warehouse, tmp_path: Path) -> None:
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited([("ann", "1", 1, -5), ("ann", "1", 2, "")])))
    assert kept(warehouse) == [("ann", "1", 1.0, -5.0)]


def test_a_rejected_row_supersedes_nothing(warehouse: Warehouse, tmp_path: Path) -> None:
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited([("ann", "1", 1, 1), ("ann", "1", 9, 2)])))
    assert kept(warehouse) == [("ann", "1", 1.0, 1.0)]


def test_both_ends_of_the_scale_are_on_it(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [("ann", str(n), rating, 0) for n, rating in enumerate((-10, -10.001, 10, 10.001, 0))]
    ingest(warehouse, pack(tmp_path / "a.csv", as_delimited(rows)), scale=(-10, 10))
    assert [row[2] for row in kept(warehouse)] == [-10.0, 10.0, 0.0]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from("ab"), st.sampled_from("12"), st.integers(0, 6), st.sampled_from(["", "1", "2", "x"])
        ),
        min_size=1,
        max_size=40,
    )
)
def test_cleaning_agrees_with_its_description_in_python(
    warehouse: Warehouse, tmp_path: Path, rows: list[tuple[str, str, int, str]]
) -> None:
    rows = [*rows, ("z", "z", 3, "1")]
    report = ingest(warehouse, pack(tmp_path / "a.csv", as_delimited(rows)))
    best: dict[tuple[str, str], tuple[tuple[float, int], int, float | None]] = {}
    for place, (user, item, rating, stamp) in enumerate(rows):
        if 1 <= rating <= 5 and stamp != "x":
            time = float(stamp) if stamp else None
            rank = (float("-inf") if time is None else time, place)
            if (user, item) not in best or best[user, item][0] < rank:
                best[user, item] = (rank, rating, time)
    by_place = sorted(best.items(), key=lambda entry: entry[1][0][1])
    assert kept(warehouse) == [(*pair, float(rating), time) for pair, (_, rating, time) in by_place]
    assert report.rows_read == len(rows) == report.kept + sum(report.rejected.values())


INGEST = """
import sys
from pathlib import Path
from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.store.warehouse import Warehouse
root, path, threads = sys.argv[1:]
domain = Domain(name="books", format="csv", path=path, columns=Columns(), scale=(1, 5))
warehouse = Warehouse(Path(root), threads=int(threads))
ingest_domain(domain, warehouse)
with warehouse.read("raw_ratings", "books") as connection:
    for table in ("raw_ratings", "rejected_ratings"):
        query = f"select sha256(string_agg(r::varchar, chr(10) order by rowid)) from {table} r"
        print(connection.execute(query).fetchall())
"""


def test_the_same_tables_at_any_thread_count_and_hash_seed(tmp_path: Path) -> None:
    """In their order too, though the file is large enough to be read by several threads and full of repeats."""
    rows = [(f"u{n * 7919 % 1009}", f"i{n * 31 % 97}", 1 + n % 6, n) for n in range(300_000)]
    path = pack(tmp_path / "a.csv", as_delimited(rows))
    outputs = set()
    for threads, seed in ((1, "0"), (4, "1"), (2, "2")):
        command = [sys.executable, "-c", INGEST, str(tmp_path / f"w{threads}"), str(path), str(threads)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        outputs.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(outputs) == 1


def test_more_rows_than_fit_in_memory_are_cleaned_all_the_same(tmp_path: Path) -> None:
    """Cleaning holds the ids several times over, some 200 MB here; the reader alone takes some 80 MB."""
    line = "user{:070d},item{:070d},{},{}\n"
    rows = "".join(line.format(n * 7919 % 100_003, n, 1 + n % 5, n) for n in range(500_000))
    path = pack(tmp_path / "a.csv", b"user_id,item_id,rating,timestamp\n" + rows.encode())
    warehouse = Warehouse(tmp_path / "warehouse", memory_limit="112MiB", threads=1)
    assert ingest(warehouse, path).kept == 500_000
    assert not list(warehouse.root.glob(".spill*"))


def test_too_little_memory_names_the_setting(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.csv", as_delimited([(f"u{n}", f"i{n}", 3, n) for n in range(200_000)]))
    with pytest.raises(WarehouseError, match="raise PTUPCDR_MEMORY_LIMIT"):
        ingest(Warehouse(tmp_path / "warehouse", memory_limit="5MiB", threads=1), path)
