"""Spark makes the tables that DuckDB makes: the same rows in the same order, and so the same digest."""

import random
from pathlib import Path

import pytest
from generated_files import HIGH, LOW, files, write
from hypothesis import given, settings
from hypothesis import strategies as st
from ratings_files import as_delimited, pack
from table_rows import tables

from ptupcdr_core.catalog import Catalog, Columns, Domain, Pair
from ptupcdr_core.errors import SourceError, SplitError
from ptupcdr_core.serving.forgetting import forget
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import IngestReport
from ptupcdr_core.stages.row_engine import engine_of
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

pytestmark = pytest.mark.usefixtures("spark")
ENGINES = ("duckdb", "spark")
WITH_TIME = Columns(timestamp="timestamp")


def ingest(root: Path, engine: str, domain: Domain) -> tuple[Warehouse, IngestReport]:
    warehouse, own = Warehouse(root / engine / "warehouse"), domain.model_copy(update={"engine": engine})
    return warehouse, engine_of(own).ingest_domain(own, warehouse)


def assert_same_rows(root: Path, domain: Domain) -> IngestReport:
    made = [ingest(root, engine, domain) for engine in ENGINES]
    (one, expected), (other, report) = made
    assert tables(other, "raw_ratings", domain.name) == tables(one, "raw_ratings", domain.name)
    assert report == expected
    contents = [warehouse.provenance("raw_ratings", domain.name).content for warehouse, _ in made]
    assert contents[0] == contents[1], "what hangs on it is up to date whichever engine has made it"
    return report


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_of_generated_files_every_row_is_kept_or_rejected_as_by_duckdb(
    format: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, written = tmp_path_factory.mktemp(format), []

    @settings(max_examples=2, deadline=None, derandomize=True)  # the first one is simple
    @given(drawn=st.lists(files([format]), min_size=16, max_size=16))
    def write_them(drawn: list) -> None:
        for made in drawn:
            folder = root / "files" / f"{len(written):02}"
            folder.mkdir(parents=True)
            write(made, folder)
            written.append(made)

    write_them()
    domain = Domain(name="books", format=format, path=str(root / "files"), columns=WITH_TIME, scale=(LOW, HIGH))
    report = assert_same_rows(root, domain)
    assert report.rows_read == sum(len(made.rows) for made in written)


def many_rows(folder: Path, *, rows: int, parts: int, items: int = 300, prefix: str = "i", seed: int = 1) -> Path:
    """Rows of 2,000 people in several files, with repeats, missing times and what is wrong with some."""
    draw = random.Random(seed)
    for part in range(parts):
        lines = [
            (
                draw.choices([f"ü{draw.randrange(2_000)}", " "], [99, 1])[0],
                f"{prefix}{draw.randrange(items)}",
                draw.choices([draw.randrange(1, 6), "4.5", "6", "many", "4_0"], [95, 2, 1, 1, 1])[0],
                draw.choices([draw.randrange(50), "", "2014-05-13", "soon"], [90, 5, 4, 1])[0],
            )
            for _ in range(rows // parts)
        ]
        pack(folder / f"part-{part}.csv", as_delimited(lines) + b'one,field\n"three",of,four\n')
    return folder


def test_of_thirty_thousand_ratings_in_four_files_all_tables_are_the_same(tmp_path: Path) -> None:
    path = many_rows(tmp_path / "files", rows=30_000, parts=4)
    report = assert_same_rows(tmp_path, Domain(name="books", format="csv", path=str(path), columns=WITH_TIME))
    assert report.rows_read == 30_008
    assert set(report.rejected) > {"superseded", "wrong_number_of_fields", "timestamp_unparseable"}


@pytest.mark.parametrize("weight", ["rating", None])
def test_events_are_summed_as_by_duckdb(tmp_path: Path, weight: str | None) -> None:
    path = many_rows(tmp_path / "files", rows=4_000, parts=2, items=5)
    columns = Columns(timestamp="timestamp", weight=weight)
    floor = {} if weight is None else {"least_weight": 2}
    domain = Domain(name="plays", format="csv", path=str(path), feedback="implicit", columns=columns, **floor)
    report = assert_same_rows(tmp_path, domain)
    assert report.kept > report.users


def test_ids_are_joined_and_people_forgotten_as_by_duckdb(tmp_path: Path) -> None:
    for name, user in (("books", "b"), ("movies", "m")):
        rows = [(f"{user}{number}", f"{name}{item}", 3, item) for number in range(9) for item in range(4)]
        pack(tmp_path / f"{name}.csv", as_delimited(rows))
    pack(tmp_path / "people.csv", b"books,movies\nb1,m2\nb3,m4\nb8,\n")
    domain = Domain.model_validate({
        "name": "movies", "format": "csv", "path": str(tmp_path / "movies.csv"), "columns": {"timestamp": "timestamp"},
        "people": {"path": str(tmp_path / "people.csv"), "columns": {"books": "books", "movies": "movies"}},
    })  # fmt: skip
    first = assert_same_rows(tmp_path, domain)
    assert first.people == {"joined": 2, "not_listed": 7}
    for engine in ENGINES:
        home = Home(tmp_path / engine)
        forget(home, ["m7"])
        folder = home.warehouse / "raw_ratings" / "movies"
        assert not folder.exists() or not any(folder.iterdir()), "no earlier version holds who is forgotten"
    assert assert_same_rows(tmp_path, domain).rejected == {"forgotten": 4}


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Catalog]:
    root = tmp_path_factory.mktemp("rated")
    domains = []
    for number, (name, engine) in enumerate({"books": "spark", "movies": "duckdb", "music": "spark"}.items()):
        path = many_rows(
            root / name, rows=6_000, parts=2, items=80, prefix="i" if name == "movies" else "b", seed=number
        )
        domains.append(Domain(name=name, format="csv", path=str(path), columns=WITH_TIME, engine=engine))
    for engine in ENGINES:
        warehouse = Warehouse(root / engine / "warehouse")
        for domain in domains:
            own = domain if engine == "spark" else domain.model_copy(update={"engine": "duckdb"})
            engine_of(own).ingest_domain(own, warehouse)
    return root, Catalog(path=root / "domains.toml", domains=tuple(domains), pairs=())


@pytest.mark.parametrize(
    ("key", "changed"),
    [("books__movies", {"positive_above": 4.0, "history_length": 2, "beta": 0.6}), ("movies+music__books", {})],
)
def test_a_pair_with_a_side_on_spark_is_split_as_by_duckdb(
    rated: tuple[Path, Catalog], key: str, changed: dict[str, float]
) -> None:
    (root, catalog), pair, chosen = rated, Pair.of(key), Settings(**changed)
    source, target = catalog.domain(pair.source), catalog.domain(pair.target)
    reports, contents, made = [], [], []
    for engine in ENGINES:
        warehouse = Warehouse(root / engine / "warehouse")
        splitter = engine_of(*source.each, target) if engine == "spark" else engine_of()
        reports.append(splitter.build_split(pair, source, target, warehouse, chosen))
        contents.append(warehouse.provenance("domain_splits", key).content)
        made.append(tables(warehouse, "domain_splits", key))
    assert made[1] == made[0]
    assert reports[1] == reports[0]
    assert contents[1] == contents[0]
    assert (reports[1].shared_item_ids > 0) == (key != "books__movies")


def test_a_pair_without_common_users_is_refused_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    sides = []
    warehouse = Warehouse(tmp_path / "warehouse")
    for name in ("books", "movies"):
        path = pack(tmp_path / f"{name}.csv", as_delimited([(f"{name}-user", "a", 3, 1)]))
        sides.append(Domain(name=name, format="csv", path=str(path), engine="spark"))
        engine_of(sides[-1]).ingest_domain(sides[-1], warehouse)
    with pytest.raises(SplitError, match="no user has ratings in both domains"):
        engine_of(*sides).build_split(Pair(source="books", target="movies"), *sides, warehouse, Settings())
    assert not [path for path in (warehouse.root / "domain_splits").rglob("*") if path.is_file()]


def test_of_a_damaged_file_the_error_is_that_of_duckdb_and_the_old_tables_stay(
    tmp_path: Path,
) -> None:
    path = tmp_path / "files" / "a.csv.gz"
    pack(path, as_delimited([("ann", "a", 3, 1)]), "gzip")
    domain = Domain(name="books", format="csv", path=str(tmp_path / "files"), columns=WITH_TIME, engine="spark")
    warehouse, _ = ingest(tmp_path, "spark", domain)
    before = tables(warehouse, "raw_ratings", "books")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SourceError) as expected:
        ingest(tmp_path, "duckdb", domain)
    with pytest.raises(SourceError) as told:
        ingest(tmp_path, "spark", domain)
    assert str(told.value) == str(expected.value)
    assert str(path) in str(told.value)
    assert tables(warehouse, "raw_ratings", "books") == before
    assert len([*warehouse.folder("raw_ratings", "books").iterdir()]) == 1
