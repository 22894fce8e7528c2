"""What ``ptupcdr doctor`` checks: whether a backfill can work here, and what has been made so far."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ptupcdr_core.addresses import scrubbed, shown
from ptupcdr_core.catalog import EMBEDDED, Catalog, Domain
from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.sources.fingerprint import source_fingerprint
from ptupcdr_core.stages.row_engine import engine_of
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home, catalog_path_from_environment

PACKAGES = ("dagster", "duckdb", "mlflow", "great-expectations", "torch", "numba", "pandas", "pyarrow")


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Args:
        what: The thing.
        found: Its state, and the remedy if something is wrong.
        ok: False if a backfill cannot work like that.
    """

    what: str
    found: str
    ok: bool = True


def examine() -> Iterator[Finding]:
    """Check the environment, the most basic things first; a broken catalog ends the list."""
    home = Home.from_environment()
    yield Finding("python", f"{platform.python_version()}, {os.cpu_count()} cores")
    yield from _packages()
    yield from _environment(home)
    yield _device()
    try:
        catalog = load_catalog(catalog_path_from_environment())
    except PtupcdrError as error:
        yield Finding("catalog", str(error), ok=False)
        return
    yield Finding("catalog", f"{catalog.path}: {len(catalog.domains)} domains, {len(catalog.pairs)} pairs")
    for domain in catalog.domains:
        yield _source(domain)
    yield from _engines(catalog)
    yield from _definitions()
    yield from _partitions(home, catalog)
    yield _mlflow(home)
    yield from _past(home)


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed: install this project again with pip", ok=False)


def _environment(home: Home) -> Iterator[Finding]:
    place = _nearest_folder(home.root)
    writable = os.access(place, os.W_OK)
    remedy = "" if writable else f"; {place} cannot be written: set PTUPCDR_HOME to a folder of yours"
    yield Finding("home", f"{home.root}{remedy}", ok=writable)
    dagster_home = os.environ.get("DAGSTER_HOME")
    absolute = dagster_home is None or Path(dagster_home).is_absolute()
    note = "" if dagster_home else " (DAGSTER_HOME is not set: set it to this for `dagster asset materialize`)"
    wrong = "" if absolute else ": must be absolute"
    yield Finding("dagster home", f"{dagster_home or home.dagster}{note}{wrong}", ok=absolute)


def _device() -> Finding:
    from ptupcdr_core.engines.choice import choose_engine

    try:
        return Finding("training device", choose_engine().where)
    except PtupcdrError as error:
        return Finding("training device", str(error), ok=False)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _source(domain: Domain) -> Finding:
    try:
        source_fingerprint(domain)
    except PtupcdrError as error:
        return Finding(f"ratings of {domain.name}", str(error), ok=False)
    return Finding(f"ratings of {domain.name}", f"{domain.format} {domain.shown_path}".strip())


def _engines(catalog: Catalog) -> Iterator[Finding]:
    for domain in {domain.engine: domain for domain in catalog.domains if domain.engine != EMBEDDED}.values():
        try:
            engine_of(domain).require()
        except PtupcdrError as error:
            yield Finding(f"engine {domain.engine}", str(error), ok=False)
        else:
            yield Finding(f"engine {domain.engine}", "installed")


def _definitions() -> Iterator[Finding]:
    try:
        from ptupcdr_dagster.definitions import defs
    except PtupcdrError as error:
        yield Finding("dagster definitions", str(error), ok=False)
    else:
        assets, executor = len(list(defs.assets or [])), os.environ.get("PTUPCDR_EXECUTOR") or "in_process"
        yield Finding("dagster definitions", f"{assets} assets, executor {executor}")


def _partitions(home: Home, catalog: Catalog) -> Iterator[Finding]:
    from ptupcdr_dagster.running.freshness import stored_provenance

    damaged = dict(_damaged(home, catalog))
    wanted = {"raw_ratings": [domain.name for domain in catalog.domains]}
    pairs = [pair.key for pair in catalog.pairs]
    wanted |= dict.fromkeys(("bridged_embeddings", "cold_start_evaluation", "recommendations"), pairs)
    for asset, partitions in wanted.items():
        if asset in damaged:
            continue
        missing = [partition for partition in partitions if stored_provenance(home, asset, partition) is None]
        state = f"not yet made: {', '.join(missing)} (`ptupcdr backfill`)" if missing else "made for all partitions"
        yield Finding(asset, state)
    for asset, found in damaged.items():
        command = "benchmark" if asset == "benchmark" else "backfill"
        yield Finding(asset, f"{found} (the next `ptupcdr {command}` makes it again)", ok=False)


def _damaged(home: Home, catalog: Catalog) -> Iterator[tuple[str, str]]:
    from ptupcdr_dagster.running.freshness import MODELS, REPORT, damage

    tables = {folder.parent.name for folder in home.warehouse.glob("*/*.duckdb")}
    partitions = [domain.name for domain in catalog.domains] + [pair.key for pair in catalog.pairs]
    for asset in sorted(tables | MODELS | {REPORT}):
        found = [damage(home, asset, partition) for partition in partitions]
        if any(found):
            yield asset, "; ".join(message for message in found if message)


def _past(home: Home) -> Iterator[Finding]:
    """What is kept of past runs, and what killed processes have left."""
    from ptupcdr_core.store.leftovers import leftovers, size_of
    from ptupcdr_dagster.running.instance import instance_folder, open_instance
    from ptupcdr_dagster.running.pruning import held
    from ptupcdr_dagster.running.tidying import dead_runs
    from ptupcdr_dagster.tracking.stores import kept_mark

    left = leftovers(home)
    dead = 0
    if (instance_folder(home) / "dagster.yaml").exists():
        try:
            with open_instance(home) as instance:
                dead = len(dead_runs(instance))
                found = [f"{count} {what} ({size / 1e6:.1f} MB)" for what, count, size in held(home, instance) if count]
            yield Finding("past", f"{', '.join(found)}: `ptupcdr prune` throws away what is old")
        except PtupcdrError as error:
            yield Finding("past", str(error), ok=False)
    if left or dead:
        size = sum(map(size_of, left)) / 1e6
        yield Finding(
            "killed", f"{dead} runs, {len(left)} temporary files ({size:.1f} MB): the next backfill tidies up"
        )
    if kept_mark(home).exists():
        yield Finding("mlflow", "runs wait to be sent to the server: `ptupcdr mlflow sync`")


def _mlflow(home: Home) -> Finding:
    from ptupcdr_dagster.tracking.stores import own_store, server, tracking_uri, unanswered

    uri = tracking_uri(home)
    if uri == own_store(home) and not (home.mlflow / "mlflow.db").exists():
        return Finding("mlflow store", f"{uri} (made by the first run)")
    reason = unanswered(uri) if server() else None
    if reason is not None:
        return Finding("mlflow store", f"{shown(uri)}: {reason}; a backfill keeps its metrics in the home", ok=False)
    return _reached(home, uri)


def _reached(home: Home, uri: str) -> Finding:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DatabaseError

    from ptupcdr_dagster.tracking.stores import EXPERIMENT, QUICKLY, store_fails

    for name, value in QUICKLY.items():
        os.environ.setdefault(name, value)

    try:
        experiment = MlflowClient(tracking_uri=uri).get_experiment_by_name(EXPERIMENT)
    except DatabaseError as error:
        return Finding("mlflow store", str(store_fails(error.orig, home.mlflow)), ok=False)
    except MlflowException as error:
        return Finding("mlflow store", f"{shown(uri)}: {scrubbed(error.message, uri)}", ok=False)
    return Finding("mlflow store", f"{shown(uri)}{'' if experiment else ' (no run yet)'}")
