"""Twice the data is at most little more than twice the work, counted in rows and never in seconds.

DuckDB counts the rows that every operator of a query reads and passes on; a join of everything with everything, or a
window over all rows for each row, shows there at any size.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from ptupcdr_core.catalog import Columns, Domain, Pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.kernels import whitened as kernel
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training import als as least_squares

USERS, RATINGS = 400, 4_000


@dataclass
class Counting:
    """A connection that adds up the rows of all operators of all its statements."""

    connection: duckdb.DuckDBPyConnection
    rows: int = 0

    def execute(self, query: str, *arguments: Any) -> duckdb.DuckDBPyConnection:
        self.connection.execute("set enable_profiling = 'no_output'")
        *earlier, last = duckdb.extract_statements(query)
        for statement in earlier:
            self.connection.execute(statement)
            self.rows += self._counted()
        result = self.connection.execute(last, *arguments)
        self.rows += self._counted()
        return result

    def _counted(self) -> int:
        return _rows(self.connection.get_profiling_information(format="json"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def _rows(profile: str) -> int:
    def total(operator: dict[str, Any]) -> int:
        own = operator.get("intermediate_rows", 0) + operator.get("rows_scanned", 0)
        return int(own) + sum(total(child) for child in operator.get("children", []))

    return sum(total(operator) for operator in json.loads(profile).get("operator", []))


@dataclass(frozen=True)
class CountingWarehouse(Warehouse):
    """A warehouse whose written partitions say how many rows it took to make them."""

    work: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def write(self, asset: str, partition: str, **given: Any) -> Iterator[Any]:
        with super().write(asset, partition, **given) as connection:
            counting = Counting(connection)
            yield counting
        self.work[f"{asset}/{partition}"] = counting.rows


def _made(folder: Path, scale: int) -> dict[str, int]:
    """Ingest and split a pair of this many times the smallest size; the work of each partition."""
    rng = np.random.default_rng(scale)
    domains = []
    for name, first in (("source", 0), ("target", USERS * scale // 2)):
        path = folder / f"{name}.csv"
        users = first + rng.integers(0, USERS * scale, RATINGS * scale)
        items, stars = rng.integers(0, 100 * scale, len(users)), rng.integers(1, 6, len(users))
        lines = (f"u{u},{name}{i},{s},{t}\n" for t, (u, i, s) in enumerate(zip(users, items, stars, strict=True)))
        path.write_text("user_id,item_id,rating,timestamp\n" + "".join(lines))
        domains.append(Domain(name=name, format="csv", path=str(path), columns=Columns(timestamp="timestamp")))
    warehouse = CountingWarehouse(folder / "warehouse", threads=1)
    for domain in domains:
        ingest_domain(domain, warehouse)
    build_split(Pair(source="source", target="target"), *domains, warehouse, Settings())
    return warehouse.work


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, int]]:
    return {scale: _made(tmp_path_factory.mktemp(f"scale{scale}"), scale) for scale in (4, 8)}


@pytest.mark.parametrize("made", ["raw_ratings/source", "raw_ratings/target", "domain_splits/source__target"])
def test_twice_the_ratings_are_twice_the_rows(work: dict[int, dict[str, int]], made: str) -> None:
    once, twice = (work[scale][made] for scale in (4, 8))
    assert once > 4 * RATINGS, "nothing was counted"
    assert twice <= 2.2 * once


def test_what_is_quadratic_would_be_seen() -> None:
    """The count is one: it grows by four for a join of everything with everything."""
    counted = []
    for size in (500, 1000):
        with duckdb.connect() as connection:
            counting = Counting(connection)
            counting.execute(
                f"create table t as select range as a from range({size}); "
                "create table p as select count(*) as n from t join t as u on t.a + u.a < 3 * t.a"
            )
            counted.append(counting.rows)
    assert counted[1] > 3 * counted[0]


@pytest.mark.parametrize("ratings", [1_000, 2_000])
def test_an_iteration_of_least_squares_reads_each_rating_twice(ratings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []  # appended to by threads, summed up at the end
    monkeypatch.setattr(
        kernel, "solve_rows", lambda first, last, side, *_: read.append(np.diff(side.rows.offsets)[first:last].sum())
    )
    rng = np.random.default_rng(0)
    users, items = (rng.integers(1, 51, ratings).astype(np.int32) for _ in range(2))
    stars = np.ones(ratings, np.float32)
    plan = least_squares.Plan(4, Ridge(1.0), Ridge(1.0), iterations=3, seed=0)
    least_squares.als(least_squares.Entries(users, items, stars, 50, 50), plan)
    assert sum(read) == 3 * 2 * ratings
