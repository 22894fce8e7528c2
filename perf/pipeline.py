"""Seconds, ratings per second and peak memory of every stage, on generated files of any size.

    python perf/pipeline.py --task 1 --scale 0.1                 the stages, and the libraries that are installed
    python perf/pipeline.py --task 1 --reference epoch           the same, and a plain implementation beside them
    python perf/pipeline.py --task 2 --scaling docs/scaling.png  time and memory against size, as a picture
    PTUPCDR_MEMORY_LIMIT=6GB python perf/pipeline.py --many 100000000    one domain of 100 million ratings

Files of published size (``--scale 1``) have 1.7 + 1.1 million ratings (task 1: movies to music) or 8.9 + 1.7 million
(task 2: books to movies). ``pip install 'ptupcdr-dagster[bench]'`` brings cmfrec and implicit for the comparison.
Everything is written to a temporary folder.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import libraries
import many
import numba
from generated import Files, write_catalog, write_task
from measure import Cost, measured, measured_command
from plain import Trainer, prepare, read

from ptupcdr_core.data.pair_data import load_pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.evaluation.choosing import Chooser, Outcome, watch
from ptupcdr_core.methods import cmf
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.embeddings import bridge_cold_users
from ptupcdr_core.stages.evaluation import evaluate_cold_start
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

BATCHES = {  # batch sizes of source, target, meta network and mapping, as published
    1: (256, 256, 128, 64),
    2: (512, 512, 512, 128),
    3: (512, 512, 512, 128),
}
SCALES = (0.01, 0.03, 0.1, 0.3, 1.0)
WARM_UP = 0.002
CMF = "CMF"  # the reference trains it too; here `ptupcdr benchmark` does, and the lineage does not


@dataclass(frozen=True)
class Stage:
    """One stage: its name, its cost, and the number of ratings that it reads."""

    name: str
    cost: Cost
    ratings: int


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="ptupcdr-bench-") as folder:
        work = Path(folder)
        if options.scaling:
            _scaling(options, work)
            return
        if options.many:
            for name, cost, found in many.run(work, options.many):
                print(f"{name}: {_in_words(cost)}; {found}", flush=True)
            return
        _prepare(work / "warm-up", options, WARM_UP)
        _stages(work / "warm-up", options)  # compiles the loops; later runs read them from the cache
        files = _prepare(work, options, options.scale)
        print(
            f"task {options.task}, scale {options.scale}: {files.source_ratings:,} + {files.target_ratings:,} ratings"
        )
        print(f"recipe {options.recipe}, {options.epochs} epochs, {numba.get_num_threads()} threads\n")
        measured_stages, cmf_outcome = _stages(work, options)
        plain, plain_errors = _plain(files, options) if options.reference != "none" else ({}, {})
        _print_stages(measured_stages, plain)
        whole = _whole_lineage(work, options)
        print(f"\nptupcdr backfill, whole process with its checks and records: {_in_words(whole)}")
        _print_errors(work, cmf_outcome, plain_errors)
        fits = _libraries(work, options)
        _print_fits(fits)
        if options.json:
            entries = {
                "stages": [asdict(s) for s in measured_stages],
                "plain": {k: asdict(c) for k, c in plain.items()},
            }
            entries |= {"whole": asdict(whole), "fits": [asdict(fit) for fit in fits]}
            options.json.write_text(json.dumps(entries, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--task", type=int, choices=BATCHES, default=1, help="1 movies→music, 2 books→movies, 3 books→music"
    )
    parser.add_argument(
        "--scale", type=float, default=0.1, help="multiplies the published numbers of users, items and ratings"
    )
    parser.add_argument("--recipe", choices=("published", "calibrated"), default="published")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--reference",
        choices=("none", "epoch", "whole"),
        default="none",
        help="also run a plain implementation: one epoch of each training, multiplied; or all epochs",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    parser.add_argument("--scaling", type=Path, metavar="PICTURE", help="run several sizes and draw them")
    parser.add_argument(
        "--many", type=int, metavar="RATINGS", help="only ingest and split a domain of this many ratings"
    )
    return parser.parse_args()


def _settings(options: argparse.Namespace) -> Settings:
    source, target, meta, mapping = BATCHES[options.task]
    return Settings(
        recipe=options.recipe,
        epochs=options.epochs,
        source_batch_size=source,
        target_batch_size=target,
        meta_batch_size=meta,
        mapping_batch_size=mapping,
    )


def _prepare(work: Path, options: argparse.Namespace, scale: float) -> Files:
    work.mkdir(exist_ok=True)
    write_catalog(work, options.task)
    return write_task(work, options.task, scale)


def _stages(work: Path, options: argparse.Namespace) -> tuple[list[Stage], Outcome | None]:
    """Run all stages as the lineage does, and with the published recipe CMF; returns costs and CMF's outcome."""
    home, settings = Home(work / "home"), _settings(options)
    catalog = load_catalog(work / "domains.toml")
    warehouse = Warehouse.from_environment(home.warehouse)
    [pair] = catalog.pairs
    source, target = catalog.domain(pair.source), catalog.domain(pair.target)
    reports: dict[str, Any] = {}
    done: list[Stage] = []

    def stage(name: str, run: Callable[[], object], ratings: int | None = None) -> None:
        with measured() as cost:
            reports[name] = run()
        done.append(Stage(name, cost, reports[name].kept if ratings is None else ratings))

    def silent(_epoch: int, _metrics: dict[str, float]) -> None:
        pass

    for side, domain in (("source", source), ("target", target)):
        stage(f"read {side}", partial(ingest_domain, domain, warehouse))
    both = done[0].ratings + done[1].ratings
    stage("split", lambda: build_split(pair, source, target, warehouse, settings), both)
    stage("source model", lambda: pretrain(home, pair.key, "source", settings, silent), done[0].ratings)
    stage("target model", lambda: pretrain(home, pair.key, "target", settings, silent), done[1].ratings)
    stage("bridges", lambda: train_bridges(home, pair.key, settings, silent), both)
    stage("embeddings", lambda: bridge_cold_users(home, pair.key, settings), both)
    stage("evaluation", lambda: evaluate_cold_start(home, pair.key, settings), both)
    stage("recommendations", lambda: recommend_cold_users(home, pair.key, settings), both)
    if settings.recipe == "published":
        stage(CMF, lambda: _cmf(warehouse, pair.key, settings), both)
    return done, reports.get(CMF)


def _cmf(warehouse: Warehouse, pair: str, settings: Settings) -> Outcome:
    """CMF as ``ptupcdr benchmark`` trains and chooses it."""
    data = load_pair(warehouse, pair)
    chooser = Chooser(data, settings)
    for epoch in cmf.fit(Experiment(data, settings)):
        watch(data, {settings.recipe: chooser}, epoch)
    return chooser.outcome()


def _plain(files: Files, options: argparse.Namespace) -> tuple[dict[str, Cost], dict[str, tuple[float, float]]]:
    """The plain implementation's costs, by stage, and its errors if it was trained for all epochs."""
    settings, costs = _settings(options), {}
    with measured() as costs["read source"]:
        source = read(files.source)
    with measured() as costs["read target"]:
        target = read(files.target)
    with measured() as costs["split"]:
        trainer = Trainer(prepare(source, target, settings), settings)
    epochs = 1 if options.reference == "epoch" else settings.epochs
    trainings = {"source model": ["source"], "target model": ["target"], "bridges": ["emcdr", "ptupcdr"]}
    if settings.recipe == "published":
        trainings[CMF] = ["cmf"]
    for name, trained in trainings.items():
        with measured() as cost:
            for model in trained:
                for _ in range(epochs):
                    trainer.epoch(model)
        costs[name] = cost.times(settings.epochs / epochs)
    with measured() as costs["evaluation"]:
        errors = {method: trainer.errors(method) for method in ("tgt", "cmf", "emcdr", "ptupcdr")}
    with measured() as costs["recommendations"]:
        trainer.recommend()
    return costs, errors if options.reference == "whole" else {}


def _whole_lineage(work: Path, options: argparse.Namespace) -> Cost:
    """Measure ``ptupcdr backfill`` in a new home and a new process."""
    settings = _settings(options).model_dump(exclude_defaults=True)
    arguments = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-c", "from ptupcdr_dagster.cli.commands import app; app()", "backfill", *arguments]
    environment = {"PTUPCDR_HOME": str(work / "whole"), "PTUPCDR_CATALOG": str(work / "domains.toml")}
    return measured_command(command, environment, work / "backfill.log")


def _libraries(work: Path, options: argparse.Namespace) -> list[libraries.Fit]:
    [pair] = load_catalog(work / "domains.toml").pairs
    data = load_pair(Warehouse.from_environment(Home(work / "home").warehouse), pair.key)
    size = _settings(options).embedding_size
    return libraries.compare(data.source, data.user_count, data.source_item_count, size)


def _scaling(options: argparse.Namespace, work: Path) -> None:
    from scaling import draw

    found: list[dict[str, float]] = []
    for scale in SCALES:
        file = work / f"{scale}.json"
        command = [sys.executable, __file__, "--task", str(options.task), "--scale", str(scale)]
        command += ["--recipe", options.recipe, "--epochs", str(options.epochs), "--json", str(file)]
        measured_command(command, {}, work / f"{scale}.log")
        figures = json.loads(file.read_text())
        ratings = figures["stages"][0]["ratings"] + figures["stages"][1]["ratings"]
        stages_alone = asdict(_sum([Cost(**stage["cost"]) for stage in figures["stages"]]))
        found.append({"ratings": ratings, **figures["whole"], **{f"stages_{k}": v for k, v in stages_alone.items()}})
        print("  ".join(f"{name} {value:,.1f}" for name, value in found[-1].items()), flush=True)
    draw(found, options.scaling, f"Task {options.task}, {options.recipe} recipe, {options.epochs} epochs")


def _print_stages(found: list[Stage], plain: dict[str, Cost]) -> None:
    print(f"{'':16} {'seconds':>8} {'processor':>9} {'ratings/s':>10} {'peak MB':>8}", end="")
    print(f" | {'plain: s':>9} {'processor':>9} {'ratio':>7}" if plain else "")
    print("\n".join(_lines(found, plain)))


def _lines(found: list[Stage], plain: dict[str, Cost]) -> Iterator[str]:
    rows = [*found, Stage("together", _sum([stage.cost for stage in found]), found[0].ratings + found[1].ratings)]
    others = {**plain, "together": _sum(list(plain.values()))} if plain else {}
    for name, cost, ratings in ((row.name, row.cost, row.ratings) for row in rows):
        speed = ratings / cost.seconds
        line = f"{name:16} {cost.seconds:8.2f} {cost.processor:9.2f} {speed:10,.0f} {cost.peak_mb:8,.0f}"
        if name in others:
            other = others[name]
            line += f" | {other.seconds:9.1f} {other.processor:9.1f} {other.seconds / cost.seconds:6.1f}×"
        yield line


def _sum(costs: list[Cost]) -> Cost:
    """The cost of all together: times are added, memory is the largest."""
    return Cost(
        sum(cost.seconds for cost in costs),
        sum(cost.processor for cost in costs),
        max(cost.peak_mb for cost in costs),
    )


def _print_errors(work: Path, cmf_outcome: Outcome | None, plain: dict[str, tuple[float, float]]) -> None:
    from ptupcdr_core.experiments.readout import read_evaluation

    [pair] = load_catalog(work / "domains.toml").pairs
    print(f"\n{'method':16} {'MAE':>8} {'RMSE':>8}" + (f" {'plain MAE':>10} {'plain RMSE':>10}" if plain else ""))
    evaluated = read_evaluation(Home(work / "home"), pair.key)
    errors = [(str(row.method), row.mae, row.rmse) for row in evaluated.itertuples()]
    if cmf_outcome:
        errors.append(("cmf", cmf_outcome.errors.mae, cmf_outcome.errors.rmse))
    for method, mae, rmse in errors:
        beside = plain.get(method)
        print(f"{method:16} {mae:8.4f} {rmse:8.4f}" + (f" {beside[0]:10.4f} {beside[1]:10.4f}" if beside else ""))


def _print_fits(fits: list[libraries.Fit]) -> None:
    print(f"\n{libraries.ITERATIONS} iterations of least squares on the source ratings: seconds, ratio, training RMSE")
    for fit in fits:
        rmse = "" if fit.rmse is None else f"{fit.rmse:.4f}"
        print(f"{fit.name:16} {fit.cost.seconds:8.2f} {fit.cost.seconds / fits[0].cost.seconds:6.2f}× {rmse:>8}")
    missing = [name for name in libraries.LIBRARIES if name not in {fit.name for fit in fits}]
    if missing:
        print(f"not installed, so not compared: {', '.join(missing)} (pip install 'ptupcdr-dagster[bench]')")


def _in_words(cost: Cost) -> str:
    return f"{cost.seconds:.1f} s ({cost.processor:.1f} s of processor time), {cost.peak_mb:,.0f} MB"


if __name__ == "__main__":
    main()
