"""Remove old runs, studies, downloads and logs of a home, but nothing that is still in use."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from ptupcdr_core.catalog import Catalog
from ptupcdr_core.experiments.studies import prune_studies
from ptupcdr_core.sources.buckets import copies_folder, is_bucket
from ptupcdr_core.sources.download import is_address, local_copy, part_of
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import remove, size_of
from ptupcdr_dagster.running.private import drop_checks, run_files
from ptupcdr_dagster.tracking.stores import open_own, own_store

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
VERSIONS_KEPT = 3
"""How many of the newest versions of a registered model stay, whatever their age; versions with an alias stay too."""
LEFT_BY_MLFLOW = (
    "delete from model_version_tags where (workspace, name, version) in "
    "(select workspace, name, version from model_versions where current_stage = 'Deleted_Internal')",
    "delete from model_versions where current_stage = 'Deleted_Internal'",
    "delete from inputs where destination_type = 'RUN' and destination_id not in (select run_uuid from runs)",
    "delete from datasets where dataset_uuid not in (select source_id from inputs)",
)
"""Delete rows of deleted things that MLflow never removes, not even in its garbage collection."""
MOST = 50_000
"""The most runs that MLflow returns at once."""


@dataclass(frozen=True)
class Prune:
    """Throws away what is older than a moment.

    Attributes:
        home: Where generated state lives.
        instance: Has the home's Dagster runs.
        catalog: Names the downloads in use.
        before: The moment, in seconds of Unix time.
        dry_run: Only count.
    """

    home: Home
    instance: dg.DagsterInstance
    catalog: Catalog
    before: float
    dry_run: bool = False

    def run(self) -> dict[str, int]:
        """Throw them away; return how many of each kind."""
        kept = runs_in_use(self.instance)
        counts = {"Dagster runs": self._dagster_runs(kept)}
        if (self.home.mlflow / "mlflow.db").exists():
            counts |= self._mlflow(kept)
        counts["studies"] = sum(
            prune_studies(self.home, journal.stem, self.before, dry_run=self.dry_run)
            for journal in sorted(self.home.tuning.glob("*.journal"))
        )
        counts["downloads"] = self._files(unused_downloads(self.home, self.catalog))
        counts["kept reads"] = self._files(unused_reads(self.home, self.catalog))
        counts["logs"] = self._files(sorted((self.home.root / "logs").glob("*.log")))
        if not self.dry_run:
            self._compact()
        return counts

    def _dagster_runs(self, kept: set[str]) -> int:
        records = self.instance.get_run_records(filters=dg.RunsFilter(statuses=FINISHED))
        old = [
            record.dagster_run.run_id
            for record in records
            if record.update_timestamp.timestamp() < self.before and record.dagster_run.run_id not in kept
        ]
        for run_id in [] if self.dry_run else old:
            files = run_files(self.instance, run_id)
            self.instance.delete_run(run_id)
            drop_checks(self.instance, run_id)
            for path in files:
                remove(path)
        return len(old)

    def _mlflow(self, kept: set[str]) -> dict[str, int]:
        client, experiment = open_own(self.home)
        versions, needed = [], set()
        for model in client.search_registered_models():
            aliased = {str(number) for number in model.aliases.values()}
            found = sorted(client.search_model_versions(f"name = '{model.name}'"), key=lambda v: -int(v.version))
            for place, version in enumerate(found):
                if (
                    place < VERSIONS_KEPT
                    or version.version in aliased
                    or version.creation_timestamp >= self.before * 1000
                ):
                    needed.add(version.run_id)
                else:
                    versions.append(version)
        runs = [
            run.info.run_id
            for run in client.search_runs([experiment], max_results=MOST)
            if run.info.run_id not in needed and _is_old(run.info, self.before) and not _is_used(run.data.tags, kept)
        ]
        if not self.dry_run:
            for version in versions:
                client.delete_model_version(version.name, version.version)
            for run_id in runs:
                client.delete_run(run_id)
            _collect_garbage(self.home)
        return {"MLflow runs": len(runs), "model versions": len(versions)}

    def _files(self, files: Sequence[Path]) -> int:
        old = [file for file in files if file.stat().st_mtime < self.before]
        for file in [] if self.dry_run else old:
            remove(file)
        return len(old)

    def _compact(self) -> None:
        history, tracked = Path(self.instance.root_directory) / "history", self.home.mlflow / "mlflow.db"
        for database in (history / "runs.db", history / "runs" / "index.db", tracked):
            # A database that is in use is compacted the next time.
            with suppress(sqlite3.OperationalError):
                if database.is_file():
                    with closing(sqlite3.connect(database, timeout=5)) as connection:
                        with connection:
                            for statement in LEFT_BY_MLFLOW if database == tracked else ():
                                connection.execute(statement)
                        connection.execute("vacuum")


def runs_in_use(instance: dg.DagsterInstance) -> set[str]:
    """Dagster runs that made some partition last: they prove that it is up to date."""
    kept = set()
    for key in instance.get_asset_keys():
        for partition in instance.get_materialized_partitions(key):
            newest = dg.AssetRecordsFilter(key, asset_partitions=[partition])
            kept |= {record.run_id for record in instance.fetch_materializations(newest, limit=1).records}
    return kept


def unused_downloads(home: Home, catalog: Catalog) -> list[Path]:
    """Local copies of addresses that no domain of the catalog names, finished or not."""
    paths = [domain.path for domain in catalog.domains if domain.path]
    used = {local_copy(path, home.downloads) for path in paths if is_address(path)}
    used |= {part_of(copy) for copy in used}
    used |= {copies_folder(path, home.downloads) for path in paths if is_bucket(path)}
    found = (path for pattern in ("[!.]*", ".*.part", ".*.part.version") for path in home.downloads.glob(pattern))
    return sorted(path for path in found if path.with_name(path.name.removesuffix(".version")) not in used)


def unused_reads(home: Home, catalog: Catalog) -> list[Path]:
    """Folders with kept reads of domains that the catalog does not name."""
    named = {domain.name for domain in catalog.domains}
    return [folder for folder in sorted(home.reads.glob("*")) if folder.name not in named]


def held(home: Home, instance: dg.DagsterInstance) -> Iterator[tuple[str, int, int]]:
    """What a home keeps of the past: a name, how many, and their bytes."""
    yield "Dagster runs", instance.get_runs_count(), size_of(Path(instance.root_directory))
    if (home.mlflow / "mlflow.db").exists():
        client, experiment = open_own(home)
        yield "MLflow runs", len(client.search_runs([experiment], max_results=MOST)), size_of(home.mlflow)
        yield "model versions", len(client.search_model_versions()), 0
    for name, files in {
        "studies' journals": home.tuning.glob("*.journal"),
        "downloads": home.downloads.glob("[!.]*"),
        "broken-off downloads": home.downloads.glob(".*.part"),
        "kept reads": home.reads.glob("*"),
        "benchmark cells": home.benchmark.glob("*/[!.]*"),
        "logs": (home.root / "logs").glob("*.log"),
    }.items():
        found = list(files)
        yield name, len(found), sum(map(size_of, found))


def days_ago(days: float) -> float:
    """The moment so many days ago, in seconds of Unix time."""
    return time.time() - days * 24 * 3600


def _is_old(info: object, before: float) -> bool:
    ended = getattr(info, "end_time", None)
    return ended is not None and ended < before * 1000


def _is_used(tags: Mapping[str, str], kept: set[str]) -> bool:
    # Trials of a search and cells of a benchmark are removed together with their parent run.
    return tags.get("dagster.run_id") in kept or "ptupcdr.unsent" in tags


def _collect_garbage(home: Home) -> None:
    # MLflow has no other way to delete for good, and looks for the artifacts where the tracking URI says.
    environment = os.environ | {"MLFLOW_TRACKING_URI": own_store(home)}
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", own_store(home)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
