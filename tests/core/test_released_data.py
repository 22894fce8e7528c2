"""Released research data, bad rows included, if it lies beside the checkout."""

import gzip
from pathlib import Path

import duckdb
import pytest
from ratings_files import WITH_TIME, WITHOUT_TIME

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no released data in {DATA}")

EPINIONS = {f"category_{n}": ("epinions", WITH_TIME) for n in (3, 4, 5)}
DOUBAN = dict.fromkeys(("book", "music"), ("douban", WITHOUT_TIME))
REPEATED = {"category_3": 709, "category_4": 267, "category_5": 243, "book": 0, "music": 0}


def domain(name: str) -> Domain:
    folder, columns = (EPINIONS | DOUBAN)[name]
    return Domain(name=name, format="csv", path=str(DATA / folder / f"{name}.csv.gz"), columns=columns)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("released") / "warehouse", threads=2)


@pytest.mark.parametrize("name", EPINIONS | DOUBAN)
def test_kept_and_rejected_rows_add_up_to_the_lines_of_the_file(warehouse: Warehouse, name: str) -> None:
    report = ingest_domain(domain(name), warehouse)
    with gzip.open(domain(name).path or "") as file:
        lines = sum(1 for _ in file) - 1
    assert report.rows_read == lines == report.kept + sum(report.rejected.values())
    assert report.rejected.get("superseded", 0) == sum(report.rejected.values()) == REPEATED[name]


@pytest.mark.parametrize(
    ("source", "target", "overlap"),
    [
        ("category_3", "category_4", 8_259),
        ("category_4", "category_5", None),
        ("book", "music", 1_566),
        ("music", "book", 1_566),
    ],
)
def test_pairs_split(warehouse: Warehouse, source: str, target: str, overlap: int | None) -> None:
    pair, domains = Pair(source=source, target=target), (domain(source), domain(target))
    for one in domains:
        ingest_domain(one, warehouse)
    report = build_split(pair, *domains, warehouse, Settings())
    both = report.users["test"] + report.users["validation"] + report.users["bridge"]
    assert overlap in (None, both)
    assert abs(report.users["test"] / both - 0.2) < 0.03
    with duckdb.connect(str(warehouse.catalog), read_only=True) as person:
        seen = person.execute("select count(*) from split_users where pair = ?", [pair.key]).fetchall()
    assert seen == [(sum(report.users.values()),)]
