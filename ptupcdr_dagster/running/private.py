"""What is used of dagster that dagster does not promise to keep. When a new release breaks something, look here first.

Nothing else in the project imports from ``dagster._…`` or ``dagster_shared``. pyproject.toml holds dagster to the
release that this was written for, and ``tests/dagster/test_private.py`` says what another one has changed.
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

    # What went wrong in a step: no public name for the type of `DagsterEvent.step_failure_data.error`.
    from dagster_shared.error import SerializableErrorInfo as SerializableErrorInfo
except ImportError as error:
    raise ImportError(
        f"dagster {dg.__version__} has moved a name that is not public ({error}): find its new place and mend "
        f"{__name__}, or install the release that pyproject.toml names"
    ) from error


def open_storages(instance: dg.DagsterInstance) -> None:
    """Open an instance's stores, which are else opened, and made, when they are first used."""
    _ = instance.run_storage, instance.event_log_storage, instance.schedule_storage


def listen(instance: dg.DagsterInstance, run_id: str, hear: Callable[[dg.EventLogEntry], None]) -> None:
    """Call ``hear`` with every event of a run in this process; the public ways ask the store again and again."""
    instance.add_event_listener(run_id, hear)


def all_checks_passed(
    instance: dg.DagsterInstance,
    checks: Sequence[dg.AssetCheckKey],
    partition: str,
    materialization: dg.EventLogRecord,
) -> bool:
    """Whether each check passed on this very materialization; the public ways know no partitions of a check.

    A check that was interrupted has not passed.
    """
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        checks, partition_filter=PartitionKeyFilter(key=partition)
    )
    for key in checks:
        record = latest.get(key)
        # One that was planned, and never made because its run was interrupted, has no evaluation that could be read.
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

    One that was planned and never made, because its run failed before, says nothing of what stands: the one before
    counts.
    """
    store, made = instance.event_log_storage, {Status.SUCCEEDED, Status.FAILED}
    chosen = PartitionKeyFilter(key=partition)
    latest = {
        key: store.get_asset_check_execution_history(key, limit=1, status=made, partition_filter=chosen)
        for key in checks
    }
    return [key for key, found in latest.items() if found and found[0].status == Status.FAILED]


def assets_of_job(definitions: dg.Definitions, job: str) -> set[dg.AssetKey]:
    """The assets that a job selects; the public definition of a job keeps the selection to itself."""
    return set(definitions.resolve_job_def(job).asset_layer.selected_asset_keys)


def report_failed(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> None:
    """Mark a run failed that cannot say so itself; the public way asks its launcher, and our runs have none."""
    instance.report_run_failed(run, message)


def run_files(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    """Where the default stores keep a run: its events and its output, which outlive ``delete_run``."""
    events, root = instance.event_log_storage, Path(instance.root_directory)
    own = [Path(events.path_for_shard(run_id))] if isinstance(events, SqliteEventLogStorage) else []
    return [path for path in (*own, root / "storage" / run_id) if path.exists()]


def drop_checks(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove what checks said in a deleted run, but for the newest of each: ``delete_run`` keeps it for ever."""
    storage, rows = instance.event_log_storage, AssetCheckExecutionsTable
    if isinstance(storage, SqlEventLogStorage):
        newest = select(func.max(rows.c.id)).group_by(rows.c.asset_key, rows.c.check_name, rows.c.partition)
        with storage.index_connection() as connection:
            connection.execute(rows.delete().where(rows.c.run_id == run_id, rows.c.id.not_in(newest)))
