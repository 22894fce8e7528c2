"""NaN, infinity and other numbers that break arithmetic: none is kept, and no model that broke on one serves."""

import random
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from ratings_files import as_delimited
from safetensors.numpy import load_file
from small_lineage import PAIR, run

from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.errors import ArtifactError, EvaluationError, SplitError, WarehouseError
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.settings import Settings
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.bundles import CHAMPION, DEPLOYED, bundle_file
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import write_tables
from ptupcdr_core.store.warehouse import Warehouse

SMALL = Settings(embedding_size=4, epochs=2, mode="rating")
TWICE = (range(60), range(20, 80))


def sides(folder: Path, users: tuple[Iterable[int], Iterable[int]], stars: int | None = None) -> tuple[Domain, Domain]:
    """Ratings by chance, 8 a user, or all alike."""
    chance, domains = random.Random(7), []
    for name, people in zip(("books", "movies"), users, strict=True):
        rows = [
            (f"u{user}", f"{name}-{item}", stars or chance.randint(1, 5), user * 100 + item)
            for user in people
            for item in chance.sample(range(30), 8)
        ]
        path = folder / f"{name}.csv"
        path.write_bytes(as_delimited(rows))
        columns = Columns(timestamp="timestamp")
        domains.append(Domain(name=name, format="csv", path=str(path), columns=columns, scale=(1, 5)))
    return domains[0], domains[1]


def no_numbers(home: Home) -> list[str]:
    """Where in tables, checkpoints and bundles a number is NaN or infinite."""
    found = []
    for file in sorted(home.warehouse.glob("*/*.duckdb")):
        with duckdb.connect(str(file), read_only=True) as connection:
            for table, column, kind in connection.execute(
                "select table_name, column_name, data_type from duckdb_columns() "
                "where not internal and (data_type like 'FLOAT%' or data_type like 'DOUBLE%')"
            ).fetchall():
                values = f'unnest("{column}"::double[])' if "[" in kind else f'"{column}"'
                query = f'select count(*) from (select {values} as x from "{table}") where not isfinite(x)'
                found += [f"{file}: {table}.{column}"] * connection.execute(query).fetchall()[0][0]
    for file in home.root.rglob("*.safetensors"):
        found += [
            f"{file}: {key}" for key, x in load_file(file).items() if x.dtype.kind == "f" and not np.isfinite(x).all()
        ]
    return found


def serves(home: Home) -> bool:
    return any(bundle_file(home, kind, PAIR).exists() for kind in (CHAMPION, DEPLOYED))


@pytest.mark.parametrize("recipe", ["published", "honest"])
def test_a_training_that_diverges_stops_and_says_what_to_change(tmp_path: Path, recipe: str) -> None:
    home, settings = Home(tmp_path / "home"), SMALL.model_copy(update={"recipe": recipe, "learning_rate": 1e6})
    with pytest.raises((EvaluationError, ArtifactError), match="choose a smaller learning_rate"):
        run(home, sides(tmp_path, TWICE), settings)
    assert no_numbers(home) == []
    assert not serves(home)


def test_a_checkpoint_with_nan_or_infinity_is_not_kept(tmp_path: Path) -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(ArtifactError, match=r"source_model of a__b was not kept: w holds .* choose a smaller"):
            artifacts.save(tmp_path / "source_model", "a__b", {"w": np.array([1, bad])}, split="", manifest={})
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_table_with_nan_or_infinity_is_not_kept(tmp_path: Path, bad: float) -> None:
    """Neither from a data frame, where NaN is null too, nor from Arrow, nor inside a list; the old table stays."""
    warehouse = Warehouse(tmp_path, threads=1)
    write_tables(warehouse, "results", PAIR, {"results": pd.DataFrame({"x": [1.0]})}, SMALL, "first")
    lists = pa.table({"x": pa.array([[1.0, bad]])})
    for rows in (pd.DataFrame({"x": [1, bad]}), pa.table({"x": [1, bad]}), lists):
        with pytest.raises(WarehouseError, match=rf"results of {PAIR} was not kept: results\.x would hold"):
            write_tables(warehouse, "results", PAIR, {"results": rows}, SMALL, "second")
    assert warehouse.provenance("results", PAIR)[0] == "first"


def test_a_measure_may_be_absent_where_that_is_said(tmp_path: Path) -> None:
    warehouse, rows = Warehouse(tmp_path, threads=1), pd.DataFrame({"x": [1, np.nan]})
    write_tables(warehouse, "results", PAIR, {"results": rows}, SMALL, "", absent=["x"])
    with warehouse.read("results", PAIR) as connection:
        assert connection.execute("select x from results").fetchall() == [(1.0,), (None,)]


def test_a_bundle_with_nan_or_infinity_is_not_kept(tmp_path: Path) -> None:
    def bundle(number: float) -> Bundle:
        mode = SimpleNamespace(head=dict, tensors=lambda: {"w": np.array([1, number], np.float32)})
        return Bundle(PAIR, {"rating": cast(BundledMode, mode)})

    file = tmp_path / "bundle.safetensors"
    bundle(2).save(file)
    before = file.read_bytes()
    with pytest.raises(ArtifactError, match=r"the bundle .* was not kept: rating/w holds NaN or an infinite number"):
        bundle(np.nan).save(file)
    assert file.read_bytes() == before


def test_ratings_that_are_all_alike_are_predicted_as_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    reports = run(home, sides(tmp_path, TWICE, stars=3), SMALL)
    assert no_numbers(home) == []
    [(worst,)] = duckdb.sql(
        f"select max(rmse) from read_duckdb('{home.warehouse}/cold_start_evaluation/{PAIR}.duckdb', "
        "table_name = 'cold_start_evaluation')"
    ).fetchall()
    assert worst == pytest.approx(0, abs=1e-3)
    assert set(reports) >= {"recommendations"}


@pytest.mark.parametrize(
    ("users", "beta"), [((range(30), range(28, 60)), 0.2), (TWICE, 0.999), ((range(30), range(30, 60)), 0.2)]
)
def test_too_few_overlapping_users_are_an_error_that_says_what_to_change(
    tmp_path: Path, users: tuple[Iterable[int], Iterable[int]], beta: float
) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(SplitError, match=r"add users|lower beta|the same way"):
        run(home, sides(tmp_path, users), SMALL.model_copy(update={"beta": beta}))
    assert not serves(home)


def test_the_published_recipe_on_five_hundred_rows_ends_in_numbers(tmp_path: Path) -> None:
    home, settings = Home(tmp_path / "home"), SMALL.model_copy(update={"recipe": "published"})
    run(home, sides(tmp_path, (range(31), range(31))), settings)
    assert no_numbers(home) == []
