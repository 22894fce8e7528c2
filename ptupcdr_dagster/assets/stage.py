"""What every asset adds to its stage of the core: fingerprint, MLflow run, metadata."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from ptupcdr_core.errors import FetchError, WarehouseError
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.metadata import describe_tables, frame_table, learning_curves, number
from ptupcdr_dagster.nights import NIGHTS
from ptupcdr_dagster.partitions import CATALOG, PAIRS
from ptupcdr_dagster.resources import SettingsResource
from ptupcdr_dagster.running.freshness import (
    CONTENT,
    FINGERPRINT,
    RAW,
    current_fingerprint,
    damage,
    stored_provenance,
    upstream_partitions,
)
from ptupcdr_dagster.running.private import failed_checks
from ptupcdr_dagster.running.turns import end_with_parent
from ptupcdr_dagster.tracking.addresses import dagster_ui
from ptupcdr_dagster.tracking.pipeline import describe_pipeline, end_stage, log_chosen
from ptupcdr_dagster.tracking.runs import StageTracker, track_stage

if TYPE_CHECKING:
    from ptupcdr_core.stages.report import StageReport
    from ptupcdr_core.stages.row_engine import RowEngine

Materialized = dg.MaterializeResult[Any]
UNLESS_UNCHANGED = "ptupcdr/unless_unchanged"
"""Tag of a run: assets, separated by commas, or ``all``, that are not made again if what they read has not changed."""
KEPT = "left_as_it_stood"
"""Metadata key of a materialization that made nothing, since nothing had changed."""


@dataclass(frozen=True)
class Stage:
    """One asset partition in the making.

    Args:
        asset: The asset's key.
        partition: The domain or pair.
        home: Where generated state lives.
        settings: The run's settings.
        fingerprint: What the content is made from, to be stored with it.
        tracker: The stage's MLflow run.
    """

    asset: str
    partition: str
    home: Home
    settings: Settings
    fingerprint: str
    tracker: StageTracker

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, with the limits that the environment sets."""
        return Warehouse.from_environment(self.home.warehouse)

    @property
    def engine(self) -> "RowEngine":
        """The pair's engine: Spark if either side is on Spark."""
        from ptupcdr_core.stages.row_engine import engine_of

        pair = CATALOG.pair(self.partition)
        return engine_of(*CATALOG.domain(pair.source).each, CATALOG.domain(pair.target))

    def run(self, function: "Callable[..., StageReport]", **arguments: Any) -> Materialized:
        """Run a stage of the core on this partition, and show its report.

        Args:
            function: Takes home, partition, settings, fingerprint and the arguments.
            arguments: What only this stage takes, such as ``on_epoch=stage.tracker.on_epoch``.
        """
        from ptupcdr_core.kernels.memory import give_back

        made = function(self.home, self.partition, settings=self.settings, fingerprint=self.fingerprint, **arguments)
        give_back()  # the next stage's arrays seldom fit into what this one's have left
        return self.report(made)

    def report(self, report: "StageReport") -> Materialized:
        """Record a stage's report in MLflow and show it: numbers, curves, checkpoints, notes and small tables."""
        self.log_split()
        self.tracker.log_metrics({name: value for name, value in report.metrics.items() if name not in report.chosen})
        log_chosen(self.tracker, {name: report.metrics[name] for name in sorted(report.chosen)})
        self.tracker.log_files(report.files)
        if report.notes:
            self.tracker.tag(report.notes)
        # The page lists entries in this order. Tables come first: single numbers, each plotted, fill a screen.
        metadata: dict[str, Any] = {name: frame_table(frame) for name, frame in report.tables.items()} | report.notes
        if report.curves:
            metadata["learning_curves"] = learning_curves(report.curves)
        metadata |= {name: number(value) for name, value in report.metrics.items()}
        if report.files:
            metadata["checkpoint"] = dg.MetadataValue.path(report.files[0])
        return self.result(metadata)

    def result(self, metadata: dict[str, Any], table: str | None = None) -> Materialized:
        """The materialization: the given metadata, the tables, and where it all came from.

        Args:
            metadata: What this asset alone shows.
            table: Its main table; by default the one with the asset's name, if it has tables at all.
        """
        has_tables = self.warehouse.exists(self.asset, self.partition)
        tables = describe_tables(self.home, self.asset, self.partition, table or self.asset) if has_tables else {}
        stored = stored_provenance(self.home, self.asset, self.partition) or {}
        content = str(stored.get(CONTENT) or self.fingerprint)
        origin = {
            "mlflow_run": dg.MetadataValue.url(self.tracker.url),
            FINGERPRINT: self.fingerprint,
            CONTENT: content,
        }
        return dg.MaterializeResult(metadata=metadata | tables | origin, data_version=dg.DataVersion(content[:16]))

    def log_split(self) -> None:
        """Name the pair's split as the data set of the MLflow run."""
        with self.warehouse.read("domain_splits", self.partition) as connection:
            summary = connection.execute("select * from split_summary").fetchdf().iloc[0]
        counts = {name: int(summary[name]) for name in summary.index if name.endswith("_users")}
        self.tracker.log_dataset(self.partition, str(summary["vocabulary"]), counts)


@contextmanager
def stage(context: dg.AssetExecutionContext, settings: SettingsResource, home: Home) -> Iterator[Stage]:
    """Open the stage of one asset partition: check its inputs, open the MLflow run, and close that at the end.

    Raises:
        WarehouseError: an input was made with other settings, or failed a check in an earlier run.
    """
    end_with_parent()
    chosen = settings.to_settings()
    _refuse_unsound(context)
    with track_stage(context, chosen, home) as tracker:
        describe_pipeline(tracker, chosen, _note(context, home))
        try:
            fingerprint = current_fingerprint(context.assets_def, home, context.partition_key, chosen)
            yield Stage(context.asset_key.to_user_string(), context.partition_key, home, chosen, fingerprint, tracker)
        finally:
            end_stage(tracker)


def _refuse_unsound(context: dg.AssetExecutionContext) -> None:
    """Refuse ratings that failed a blocking check; Dagster itself does so only within one run."""
    from ptupcdr_dagster.checks.ratings import FACTS

    asset = context.asset_key.to_user_string()
    if asset == RAW or dg.AssetKey(RAW) not in context.assets_def.dependency_keys:
        return
    checks = [dg.AssetCheckKey(dg.AssetKey(RAW), fact.name) for fact in FACTS if not fact.warning]
    for domain in upstream_partitions(asset, RAW, context.partition_key):
        failed = ", ".join(key.name for key in failed_checks(context.instance, checks, domain))
        if failed:
            raise WarehouseError(
                f"{RAW} of {domain} failed {failed}, so nothing is made from them: mend the source, and ingest it again"
            )


def _note(context: dg.AssetExecutionContext, home: Home) -> str:
    run = context.run
    return (
        f"`{run.job_name}` of **{context.partition_key}**, in Dagster: [{run.run_id[:8]}]({dagster_ui(home)}/runs/"
        f"{run.run_id}). Its child runs are the stages."
    )


def _freshness_policy() -> dg.FreshnessPolicy | None:
    hours = NIGHTS.fresh_within_hours
    return None if hours is None else dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))


def _automation(scored: bool) -> dg.AutomationCondition[Any] | None:
    """Make an asset again once the content of something that it reads has changed and passed its checks."""
    if NIGHTS.automation is None or (NIGHTS.automation == "score" and not scored):
        return None
    condition = dg.AutomationCondition
    other = condition.any_deps_match(condition.data_version_changed() | condition.will_be_requested())
    # Not all_deps_blocking_checks_passed: it ignores partitioned checks.
    failed = condition.any_checks_match(condition.check_failed(), blocking_only=True)
    return (
        other.since_last_handled()
        & ~condition.any_deps_match(failed)
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label("what it reads has changed")


@contextmanager
def _outside_reasons(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Retry what failed because of a network or a server, if [nights] retries is set."""
    if NIGHTS.retries is None:
        yield
        return
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (FetchError, ConnectionError, TimeoutError, MlflowException) as error:
        raise dg.RetryRequested(NIGHTS.retries, NIGHTS.retry_seconds * 2**context.retry_number) from error


def _as_it_stands(context: dg.AssetExecutionContext, settings: SettingsResource, home: Home) -> Materialized | None:
    """The partition's last materialization again, if the run may keep it (UNLESS_UNCHANGED) and it is up to date."""
    asset, partition = context.asset_key.to_user_string(), context.partition_key
    wanted = context.run.tags.get(UNLESS_UNCHANGED, "").split(",")
    stored = stored_provenance(home, asset, partition) if {asset, "all"} & set(wanted) else None
    if stored is None:
        return None
    now = current_fingerprint(context.assets_def, home, partition, settings.to_settings())
    selection = dg.AssetRecordsFilter(context.asset_key, asset_partitions=[partition])
    records = context.instance.fetch_materializations(selection, limit=1).records
    event = records[0].asset_materialization if records else None
    if stored[FINGERPRINT] != now or event is None or damage(home, asset, partition) is not None:
        return None
    noted = dict(event.metadata)
    if FINGERPRINT not in noted or noted[FINGERPRINT].value != now:
        return None
    context.log.info("what it is made from has not changed: not made again")
    return dg.MaterializeResult(
        metadata=noted | {KEPT: "what it is made from has not changed"},
        data_version=dg.DataVersion(str(stored[CONTENT])[:16]),
    )


def stage_asset(
    *,
    deps: Iterable[dg.AssetsDefinition | dg.AssetDep],
    group: str,
    kinds: set[str],
    partitions: dg.PartitionsDefinition = PAIRS,
    scored: bool = False,
) -> Callable[[Callable[[Stage], Materialized]], dg.AssetsDefinition]:
    """Turn a function that makes one partition in an open stage into an asset with its name and docstring.

    It depends on what it reads. What reads a model also reads what that was trained on, but declares the model alone: a
    checkpoint is refused beside another split, or other models, than those that it was trained on.

    Args:
        deps: What it reads.
        group: Its group in the lineage.
        kinds: Labels that the UI shows on it.
        partitions: Its partitions.
        scored: Whether it belongs to nightly scoring, as ratings and lists do: it can be overdue, and lists are made
            again after new ratings without training.
    """

    def decorate(make: Callable[[Stage], Materialized]) -> dg.AssetsDefinition:
        @dg.asset(
            name=make.__name__,
            description=inspect.getdoc(make),
            deps=deps,
            partitions_def=partitions,
            group_name=group,
            kinds=kinds,
            code_version=str(RESULTS[make.__name__].version),
            owners=NIGHTS.owners,
            tags=NIGHTS.tags,
            freshness_policy=_freshness_policy() if scored else None,
            automation_condition=_automation(scored) if partitions is PAIRS else None,
        )
        def asset(
            context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
        ) -> Materialized:
            kept = _as_it_stands(context, settings, home)
            if kept is not None:
                return kept
            with _outside_reasons(context), stage(context, settings, home) as current:
                return make(current)

        return asset

    return decorate
