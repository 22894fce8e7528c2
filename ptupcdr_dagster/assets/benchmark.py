"""The paper's grid of one pair: β by seed by base model by method, under several recipes."""

import hashlib
import math
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage
from ptupcdr_dagster.jobs import BENCHMARK_PAIR
from ptupcdr_dagster.metadata import describe_tables, frame_table
from ptupcdr_dagster.partitions import CATALOG, DOMAIN_TO_PAIRS, PAIRS
from ptupcdr_dagster.resources import SettingsResource
from ptupcdr_dagster.running.freshness import FINGERPRINT, stored_provenance

if TYPE_CHECKING:
    import pandas as pd

    from ptupcdr_core.experiments.benchmark import Progress

ON_CELL: ContextVar[Callable[["Progress"], None]] = ContextVar("on_cell", default=lambda progress: None)
"""Called with every finished cell by a run in this context; Dagster can hand a step only values that it can log."""
ASSET, GROUP = "benchmark", ["beta", "seed", "base_model"]


class BenchmarkConfig(dg.Config):
    """What varies; all else comes from the settings, whose own β, seed, recipe and base model are ignored."""

    betas: list[float] = Field([0.2, 0.5, 0.8], description="fractions of overlapping users held out")
    seeds: list[int] = Field([900, 1000, 10, 2020, 500], description="each fixes a split and every random number")
    base_models: list[str] = Field(["mf", "gmf", "dnn"], description="mf, gmf, dnn")
    methods: list[str] = Field([], description="names of methods; empty: all")
    recipes: list[str] = Field(["calibrated", "honest", "published"], description="these, or published_test_best too")
    modes: list[str] = Field(["rating", "ranking"], description="predicted ratings, ranked lists")
    workers: int = Field(2, ge=1, description="trainings at a time")
    measure: bool = Field(False, description="train what is missing (hours); otherwise the benchmark is left as it is")


@dg.asset(
    deps=[dg.AssetDep(raw_ratings, partition_mapping=DOMAIN_TO_PAIRS)],
    partitions_def=PAIRS,
    group_name="benchmark",
    kinds={"numba", "duckdb", "mlflow"},
    code_version=str(RESULTS["benchmark"].version),
)
def benchmark(
    context: dg.AssetExecutionContext,
    config: BenchmarkConfig,
    settings: SettingsResource,
    home: dg.ResourceParam[Home],
) -> Materialized:
    """Errors of every method of the paper over β, seeds and base models; after a stop it resumes at its last cell.

    Measured only by the job benchmark_pair and `ptupcdr benchmark`; materializing all assets does not start it.
    """
    from ptupcdr_core.experiments.benchmark import run_benchmark
    from ptupcdr_core.experiments.export import read_cells
    from ptupcdr_core.experiments.grid import Grid

    if not config.measure:
        return _as_it_stands(home, context.partition_key)
    varied = config.model_dump(exclude={"workers", "measure"})
    grid = Grid(**varied | {"methods": varied["methods"] or None})
    with stage(context, settings, home) as opened:
        content = f"{opened.fingerprint} {grid.model_dump_json()}"
        current = replace(opened, fingerprint=hashlib.sha256(content.encode()).hexdigest())

        def tell(progress: "Progress") -> None:
            ON_CELL.get()(progress)
            if progress.done * 20 // progress.total > (progress.done - 1) * 20 // progress.total:
                context.log.info(f"{progress.done} of {progress.total} cells{_time_left(progress.seconds_left)}")
            current.tracker.on_epoch(progress.done, {"cells_done": progress.done, "cells_total": progress.total})

        pair = CATALOG.pair(current.partition)
        run_benchmark(
            home,
            pair,
            CATALOG.domain(pair.source),
            CATALOG.domain(pair.target),
            grid,
            current.settings,
            tell,
            workers=config.workers,
            fingerprint=current.fingerprint,
        )
        rows = read_cells(home, pair.key)
        _track_cells(current, rows)
        return current.result({"cells": len(rows), **_tables(home, pair.key)})


def _as_it_stands(home: Home, pair: str) -> Materialized:
    """Measure nothing; show the tables that are there, if any."""
    shown: dict[str, Any] = {"measured_by": f"job {BENCHMARK_PAIR}, or ptupcdr benchmark {pair}"}
    before = stored_provenance(home, ASSET, pair)
    if before is None:
        return dg.MaterializeResult(metadata=shown, data_version=dg.DataVersion("not measured"))
    shown |= {FINGERPRINT: before[FINGERPRINT], **_tables(home, pair), **describe_tables(home, ASSET, pair, ASSET)}
    return dg.MaterializeResult(metadata=shown, data_version=dg.DataVersion(before[FINGERPRINT][:16]))


def _time_left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {seconds / 60:.0f} min left"


def _track_cells(current: Stage, rows: "pd.DataFrame") -> None:
    """One child run for each β, seed and base model (``none``: baselines that need no base model)."""
    from ptupcdr_core.evaluation.significance import METRICS
    from ptupcdr_core.experiments.readout import LIST_METRICS

    measures = [metric for metric in (*METRICS, *LIST_METRICS) if metric in rows]
    for group, cells in rows.groupby(GROUP, sort=True):
        labels = dict(zip(GROUP, group, strict=True))
        metrics = {
            f"{row.recipe}/{metric}_{row.method}": float(getattr(row, metric))
            for row in cells.itertuples()
            for metric in measures
            if not math.isnan(getattr(row, metric))
        }
        name = " ".join(f"{label}={value}" for label, value in labels.items())
        current.tracker.log_child(name, labels, metrics)


def _tables(home: Home, key: str) -> dict[str, Any]:
    """What people look at: means over seeds, and the published numbers beside them where there are any."""
    from ptupcdr_core.evaluation.significance import over_seeds
    from ptupcdr_core.experiments.published import beside_published
    from ptupcdr_core.experiments.readout import read_benchmark, summarize_benchmark, summarize_lists

    pair = CATALOG.pair(key)
    shown: dict[str, Any] = {}
    if len(lists := summarize_lists(home, key)):
        shown["lists_over_seeds"] = frame_table(lists)
    if not len(summary := summarize_benchmark(home, key)):
        return shown
    shown["means_over_seeds"] = frame_table(summary)
    means = over_seeds(read_benchmark(home, key))
    published = beside_published(CATALOG.domain(pair.source), CATALOG.domain(pair.target), means)
    return shown | ({} if published.empty else {"beside_published": frame_table(published)})
