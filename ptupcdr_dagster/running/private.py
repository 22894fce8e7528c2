"""All uses of dagster's private interface. When a new release breaks something, look here first.

Nothing else in the project imports from ``dagster._…`` or ``dagster_shared``. pyproject.toml pins dagster to the
release that this was written for, and ``tests/dagster/test_private.py`` shows what another release has changed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
from sqlalchemy import func, select

try:
    from dagster._core.event_api import PartitionKeyFilter
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
    from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    # The type of `DagsterEvent.step_failure_data.error`, which has no public name.
    from dagster_shared.error import SerializableErrorInfo as SerializableErrorInfo
except ImportError as error:
    raise ImportError(
        f"dagster {dg.__version__} has moved a name that is not public ({error}): find its new place and mend "
        f"{__name__}, or install the release that pyproject.toml names"
    ) from error


def open_storages(instance: dg.DagsterInstance) -> None:
    """Open (and so create) an instance's stores now; otherwise that happens at their first use."""
    _ = instance.run_storage, instance.event_log_storage, instance.schedule_storage


def listen(instance: dg.DagsterInstance, run_id: str, hear: Callable[[dg.EventLogEntry], None]) -> None:
    """Call ``hear`` with every event of a run in this process; the public ways poll the store."""
    instance.add_event_listener(run_id, hear)


def all_checks_passed(
    instance: dg.DagsterInstance,
    checks: Sequence[dg.AssetCheckKey],
    partition: str,
    materialization: dg.EventLogRecord,
) -> bool:
    """Whether each check passed on this very materialization; the public ways ignore a check's partitions.

    A check that was interrupted has not passed.
    """
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        checks, partition_filter=PartitionKeyFilter(key=partition)
    )
    for key in checks:
        record = latest.get(key)
        # A check that was planned, but not run because its run was interrupted, has no evaluation.
        if record is None or record.status != Status.SUCCEEDED or record.evaluation is None:
            return False
        target = record.evaluation.target_materialization_data
        if target is None or target.storage_id != materialization.storage_id:
            return False
    return True


def failed_checks(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], partition: str
) -> list[dg.AssetCheckKey]:
    """Those whose latest evaluation on a partition did not pass.

    An evaluation that was planned but not run, because its run failed earlier, is ignored: the one before it counts.
    """
    store, made = instance.event_log_storage, {Status.SUCCEEDED, Status.FAILED}
    chosen = PartitionKeyFilter(key=partition)
    latest = {
        key: store.get_asset_check_execution_history(key, limit=1, status=made, partition_filter=chosen)
        for key in checks
    }
    return [key for key, found in latest.items() if found and found[0].status == Status.FAILED]


def assets_of_job(definitions: dg.Definitions, job: str) -> set[dg.AssetKey]:
    """The assets that a job selects; a job's public definition does not tell them."""
    return set(definitions.resolve_job_def(job).asset_layer.selected_asset_keys)


def report_failed(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> None:
    """Mark a run failed whose process is gone; the public way asks the run's launcher, and our runs have none."""
    instance.report_run_failed(run, message)


def run_files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    """Files in which the default stores keep a run's events and output; ``delete_run`` leaves them."""
    events, root = instance.event_log_storage, Path(instance.root_directory)
    own = [Path(events.path_for_shard(run_id))] if isinstance(events, SqliteEventLogStorage) else []
    return [path for path in (*own, root / "storage" / run_id) if path.exists()]


def drop_checks(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove a deleted run's check evaluations, except the newest of each check; ``delete_run`` leaves them all."""
    storage, rows = instance.event_log_storage, AssetCheckExecutionsTable
    if isinstance(storage, SqlEventLogStorage):
        newest = select(func.max(rows.c.id)).group_by(rows.c.asset_key, rows.c.check_name, rows.c.partition)
        with storage.index_connection() as connection:
            connection.execute(rows.delete().where(rows.c.run_id == run_id, rows.c.id.not_in(newest)))
