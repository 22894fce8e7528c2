"""The grid, how epochs are chosen, and a benchmark that was stopped and resumed."""

import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch
from ratings_files import WITHOUT_TIME, as_delimited, domain, pack
from small_pair import small_pair

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.errors import DeviceError, SettingsError, SplitError
from ptupcdr_core.evaluation.choosing import Chooser, watch
from ptupcdr_core.evaluation.cold_start import evaluate_slices, score
from ptupcdr_core.evaluation.slices import slice_errors
from ptupcdr_core.experiments.benchmark import Progress, run_benchmark
from ptupcdr_core.experiments.cells import ratings_fingerprint
from ptupcdr_core.experiments.export import export, read_cells
from ptupcdr_core.experiments.grid import Grid, ListCell, units_of
from ptupcdr_core.experiments.readout import (
    compare_methods,
    read_benchmark,
    read_cell_errors,
    summarize_benchmark,
    summarize_lists,
)
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.methods.simple import simple_baselines
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import BestEpoch, Epoch

PAIR = Pair(source="books", target="movies")
SETTINGS = Settings(epochs=2, embedding_size=3)
GRID = Grid(
    betas=(0.3, 0.5),
    seeds=(1, 2),
    base_models=("mf", "gmf"),
    methods=("item_mean", "tgt", "emcdr", "ptupcdr"),
    modes=("rating",),
)
LISTS = Grid(betas=(0.3,), seeds=(1, 2), modes=("ranking",))


class StoppedError(Exception):
    """Somebody pulls the plug."""


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Domain, Domain]:
    home = Home(tmp_path_factory.mktemp("home"))
    rng = np.random.default_rng(0)
    made = []
    for name in ("books", "movies"):
        rows = [
            (f"user {user}", f"{name} {item}", int(rng.integers(1, 6)), 0)
            for user in range(80)
            for item in rng.permutation(30)[:8]
        ]
        made.append(domain(pack(home.root / f"{name}.csv", as_delimited(rows)), name=name, columns=WITHOUT_TIME))
        ingest_domain(made[-1], Warehouse(home.warehouse))
    return home, made[0], made[1]


def run(domains: tuple[Home, Domain, Domain], root: Path, on_cell=lambda progress: None, **changes) -> pd.DataFrame:
    """Run the grid in a home of its own that reads the same ratings."""
    home = Home(root)
    home.warehouse.mkdir(parents=True, exist_ok=True)
    if not (home.warehouse / "raw_ratings").exists():
        (home.warehouse / "raw_ratings").symlink_to(domains[0].warehouse / "raw_ratings")
    arguments = {"grid": GRID, "settings": SETTINGS, "on_cell": on_cell, **changes}
    return run_benchmark(home, PAIR, *domains[1:], **arguments)


def steady(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="seconds")


def test_the_grid_leaves_out_what_makes_no_sense():
    units = units_of(GRID, SETTINGS)
    cells = [(cell.family[0], cell.base_model, cell.method.name) for unit in units for cell in unit.cells]
    by_kind = pd.Series(cells).value_counts()
    assert set(by_kind) == {4}, "two betas, two seeds"
    assert set(by_kind.index) == {
        ("honest", "none", "item_mean"),
        *(("honest", kind, name) for kind in ("mf", "gmf") for name in GRID.methods[1:]),
        ("calibrated", "none", "item_mean"), *(("calibrated", "mf", name) for name in GRID.methods[1:]),
    }  # fmt: skip
    assert all(len({(cell.settings.seed, cell.settings.base_model) for cell in unit.cells}) == 1 for unit in units)
    with pytest.raises(SettingsError, match="nothing to run"):
        units_of(Grid(methods=("lacdr",), recipes=("calibrated",)), SETTINGS)  # though there would be lists


def test_calibrated_goes_with_mf_only():
    with pytest.raises(ValueError, match="calibrated is made for base model mf; gmf needs one of"):
        Settings(base_model="gmf")
    assert Settings(recipe="honest", base_model="gmf").clipped
    assert not Settings(recipe="published", base_model="dnn").clipped


def constant(stars: float, items: int) -> FittedMethod:
    target = TargetItems(np.zeros((items + 1, 1), np.float32), np.full(items + 1, stars, np.float32))
    return FittedMethod("constant", target, lambda users: np.zeros((len(users), 1), np.float32))


def test_who_chooses_which_epoch():
    data = small_pair()
    # Validation users say 2. Test users say 1, 1 and 4: a constant is best for MAE at 1 and for RMSE at 2.
    data = replace(
        data,
        target_validation=replace(data.target_validation, stars=np.full_like(data.target_validation.stars, 4)),
        target_test=replace(data.target_test.where(np.arange(len(data.target_test)) < 3),
                            stars=np.array([1, 1, 4], np.float32)),
    )  # fmt: skip
    named = {name: Chooser(data, Settings(recipe=name)) for name in ("honest", "published", "published_test_best")}
    for number, stars in enumerate((-1.0, 1.0, 2.0, 7.0), start=1):
        watch(data, named, Epoch(number, constant(stars, data.target_item_count), {}))
    chosen = {name: (chooser.outcome().mae_epoch, chooser.outcome().rmse_epoch) for name, chooser in named.items()}
    # Clipped to 5 for the validation users, 7 is nearest to their 4.
    assert chosen == {"honest": (4, 4), "published": (4, 4), "published_test_best": (2, 3)}
    assert named["honest"].outcome().mae_of_mean == pytest.approx((4 + 4 + 1) / 3)
    assert named["published"].outcome().errors.mae == pytest.approx((6 + 6 + 3) / 3)
    best = named["published_test_best"].outcome().errors
    assert best.mae == pytest.approx(1)
    assert best.rmse == pytest.approx(np.sqrt((1 + 1 + 4) / 3))


def test_the_earliest_of_equal_epochs_stays():
    best: BestEpoch[str] = BestEpoch()
    with pytest.raises(ValueError, match="no epoch"):
        _ = best.candidate
    for number, error in enumerate((2.0, 1.0, 1.0, 3.0)):
        best.offer(number, error, f"epoch {number}")
    assert (best.number, best.candidate) == (1, "epoch 1")


def test_slices_by_hand():
    data = small_pair()
    popularity = np.bincount(data.target_train.items, minlength=data.target_item_count + 1)
    scores = data.target_test.stars + np.where(popularity[data.target_test.items] >= 20, 2, 1).astype(np.float32)
    table = slice_errors(data, scores, scores)
    for name, rows in table.groupby("slice"):
        assert rows["ratings"].sum() == len(data.target_test), name
    popular = table[table["slice"] == "item_popularity"].set_index("at_least")
    assert popular.loc[[k for k in popular.index if k < 20], "mae"].eq(1).all()
    assert popular.loc[[k for k in popular.index if k >= 20], "rmse"].eq(2).all()
    everybody = table[table["slice"] == "target_ratings"]
    assert everybody[["at_least", "at_most", "users"]].to_numpy().tolist() == [[6, 10, len(data.cohorts["test"])]]
    stages = evaluate_slices(data, score(data, simple_baselines(data), Settings()), Settings())
    assert set(stages["method"]) == {"global_mean", "item_mean", "source_offset"}


def test_a_benchmark_that_is_stopped_goes_on_and_ends_the_same(domains, tmp_path):
    whole = run(domains, tmp_path / "whole")
    seen: list[Progress] = []

    def stop_at_seven(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(domains, tmp_path / "stopped", stop_at_seven)
    with pytest.raises(StoppedError):
        run(domains, tmp_path / "stopped", stop_at_seven)
    total = sum(len(unit.cells) for unit in units_of(GRID, SETTINGS))
    assert len(seen) == 14
    assert {progress.total for progress in seen} == {total}
    finished: list[Progress] = []
    resumed = run(domains, tmp_path / "stopped", finished.append, workers=1)
    assert 7 <= sum(progress.restored for progress in finished) < total
    assert [progress.done for progress in finished] == list(range(1, total + 1))
    assert finished[-1].seconds_left == 0
    pd.testing.assert_frame_equal(steady(resumed), steady(whole))
    for table in ("benchmark_errors", "benchmark_slices"):
        one, other = (read_benchmark(Home(tmp_path / name), PAIR.key, table) for name in ("whole", "stopped"))
        pd.testing.assert_frame_equal(one, other)


def test_the_tables_agree_and_the_pairs_own_split_stays(domains, tmp_path):
    table = run(domains, tmp_path)
    home = Home(tmp_path)
    assert not Warehouse(home.warehouse).exists("domain_splits", PAIR.key)
    assert set(table["recipe"]) == {"honest", "published", "published_test_best", "calibrated"}
    keys = ["recipe", "beta", "seed", "base_model", "method"]
    assert not table.duplicated(keys).any()
    errors = read_benchmark(home, PAIR.key, "benchmark_errors")
    sums = errors.groupby(keys)[["ratings", "absolute_error", "squared_error"]].sum()
    rows = table.set_index(keys).loc[sums.index]
    np.testing.assert_allclose(sums["absolute_error"] / sums["ratings"], rows["mae"])
    np.testing.assert_allclose(np.sqrt(sums["squared_error"] / sums["ratings"]), rows["rmse"])
    by_recipe = table.set_index([*keys[1:], "recipe"])[["mae", "rmse"]].unstack("recipe").dropna()
    for metric in ("mae", "rmse"):
        assert (by_recipe[metric]["published_test_best"] <= by_recipe[metric]["published"] + 1e-12).all()
    cell = read_cell_errors(home, PAIR.key, "honest", 0.3, "gmf")
    assert set(cell["method"]) == set(GRID.methods)
    assert len(compare_methods(home, PAIR.key, "honest", 0.3, "gmf")) == 2 * 6
    summary = summarize_benchmark(home, PAIR.key)
    assert summary.groupby(["recipe", "beta", "base_model"])["best_rmse"].any().all()
    assert set(summary["base_model"]) == {"mf", "gmf"}


def test_lists_have_tables_of_their_own(domains, tmp_path):
    told: list[Progress] = []
    assert run(domains, tmp_path, told.append, grid=LISTS).empty, "no rating was predicted"
    assert [(one.done, one.total) for one in told] == [(1, 2), (2, 2)]
    home = Home(tmp_path)
    lists = read_benchmark(home, PAIR.key, "benchmark_lists")
    assert {"popularity", "item_knn", "kernel_ridge", "cgsp", "joint_als", "emcdr", "ptupcdr"} <= set(lists["method"])
    assert set(lists.groupby("method")["seed"].apply(lambda seeds: tuple(sorted(seeds)))) == {(1, 2)}
    by_user = read_benchmark(home, PAIR.key, "benchmark_rankings")
    means = by_user.groupby(["seed", "method"])["ndcg_at_10"].mean()
    np.testing.assert_allclose(lists.set_index(["seed", "method"])["ndcg_at_10"].sort_index(), means.sort_index())
    summary = summarize_lists(home, PAIR.key)
    assert summary.loc[0, "best_ndcg_at_10"], "the first is the best"
    assert summary["ndcg_at_10"].is_monotonic_decreasing
    assert summarize_benchmark(home, PAIR.key).empty
    assert len(read_cells(home, PAIR.key)) == len(lists)
    table = export(home, PAIR.key, "latex").read_text()
    assert table.startswith(r"\begin{tabular}{lrrr}")
    assert r"lists, $\beta = 0.3$, mean ± standard deviation of 2 seeds" in table
    again: list[Progress] = []
    run(domains, tmp_path, again.append, grid=LISTS)
    assert all(one.restored for one in again)
    with duckdb.connect(Warehouse(home.warehouse).file("benchmark", PAIR.key)) as connection:
        connection.execute("drop table benchmark_lists")
    assert summarize_lists(home, PAIR.key).empty, "a benchmark of an earlier version has none"


def test_where_everybody_took_everything_all_lists_are_alike(tmp_path):
    """They are perfect, too: nobody differs from anybody, so there is nothing to map but the mean user."""
    rows = [(f"user {user}", f"item {item}", 3 + (user + item) % 3, 0) for user in range(60) for item in range(4)]
    sides = [domain(pack(tmp_path / f"{name}.csv", as_delimited(rows)), name=name) for name in ("books", "movies")]
    home = Home(tmp_path / "home")
    for side in sides:
        ingest_domain(side, Warehouse(home.warehouse))
    grid = LISTS.model_copy(update={"seeds": (1,)})
    run_benchmark(home, PAIR, *sides, grid, SETTINGS, lambda progress: None)
    lists = read_benchmark(home, PAIR.key, "benchmark_lists").set_index("method")
    assert {"emcdr", "personal_bridge", "ptupcdr"} <= set(lists.index)
    assert (lists["ndcg_at_10"] == 1).all()


def test_where_a_domain_has_no_stars_there_are_lists_alone():
    grid = LISTS.model_copy(update={"modes": ("rating", "ranking")})
    assert all(isinstance(cell, ListCell) for unit in units_of(grid, SETTINGS, rated=False) for cell in unit.cells)
    with pytest.raises(SettingsError, match="modes rating where a domain has events without stars"):
        units_of(GRID, SETTINGS, rated=False)
    with pytest.raises(SettingsError, match="nothing to run"):
        units_of(LISTS.model_copy(update={"recipes": ("honest",)}), SETTINGS)


def test_a_cell_depends_on_what_it_is_made_from(domains, tmp_path):
    few = Grid(betas=(0.3,), seeds=(1,), base_models=("mf",), methods=("item_mean",), recipes=("honest",))
    seen: list[Progress] = []
    for settings in (SETTINGS, SETTINGS, SETTINGS.model_copy(update={"history_length": 7})):
        run(domains, tmp_path, seen.append, grid=few, settings=settings)
    assert [progress.restored for progress in seen] == [False, True, False]
    warehouse, books, movies = Warehouse(domains[0].warehouse), *domains[1:]
    known = ratings_fingerprint(warehouse, books, movies)
    assert known != ratings_fingerprint(warehouse, movies, books)
    older = Warehouse(shutil.copytree(warehouse.root, tmp_path / "older"))
    with duckdb.connect(str(older.file("raw_ratings", "books"))) as connection:
        connection.execute("alter table raw_ratings drop column place")
    assert ratings_fingerprint(older, books, movies) == known, "as versions before that column stored it"


@pytest.mark.parametrize("widened", [0, 1])
def test_a_wider_scale_makes_other_cells(domains, tmp_path, widened):
    """Clipping and the middle of the scale go by it, though no rating changes."""
    few = Grid(betas=(0.3,), seeds=(1,), base_models=("mf",), methods=("global_mean",), recipes=("honest",))
    sides = list(domains[1:])
    run(domains, tmp_path, grid=few)
    sides[widened] = sides[widened].model_copy(update={"scale": (0, 10)})
    seen: list[Progress] = []
    run((domains[0], *sides), tmp_path, seen.append, grid=few)
    assert [progress.restored for progress in seen] == [False]


def test_a_missing_gpu_stops_a_benchmark(domains, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PTUPCDR_DEVICE", "cuda")
    with pytest.raises(DeviceError, match="sees no GPU"):
        run(domains, tmp_path)


def test_a_failure_in_a_worker_reaches_the_caller(domains, tmp_path):
    with pytest.raises(SplitError, match="raise beta"):
        run(domains, tmp_path, grid=Grid(betas=(1e-6,), seeds=(1,)))
