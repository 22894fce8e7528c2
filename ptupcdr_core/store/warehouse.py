"""One DuckDB file an (asset, partition), replaced atomically, and a catalog of views over all of them.

DuckDB lets one process at a time write a file, and no other read it meanwhile. So nothing is ever written in place: a
table file is built under a temporary name in the same folder, and then renamed. Readers see the old file or the new
one, never a lock and never half a table.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.sql import identifier, literal
from ptupcdr_core.store import formats, views
from ptupcdr_core.store.database import not_finite, read_all, relations, replaced_database
from ptupcdr_core.store.instances import instance, open_database
from ptupcdr_core.store.owner import Owner
from ptupcdr_core.store.versions_read import retire_others, versions_read

# A DuckDB 1.x client must be able to read the files; it could not read 2.0's default format.
STORAGE = "v1.4.0"


CONTENT = "coalesce(to_json(provenance)->>'content', fingerprint)"
"""SQL on the table ``provenance`` for a digest of a partition's content; files of earlier versions have none, and are
distinguished by what they were made from."""


class Provenance(NamedTuple):
    """What a partition's tables were made from.

    Args:
        fingerprint: of what they were made from.
        settings: what they were made with.
        content: digest of their content, as far as other assets read it.
    """

    fingerprint: str
    settings: dict[str, Any]
    content: str


@dataclass(frozen=True)
class Warehouse:
    """The folder of table files.

    Args:
        root: the folder; made when first written to.
        memory_limit: in DuckDB's notation, for example ``"4GB"``; None leaves DuckDB's default (80 % of the memory).
        threads: at most this many; None takes one a core.
    """

    root: Path
    memory_limit: str | None = None
    threads: int | None = None

    @classmethod
    def from_environment(cls, root: Path, environment: Mapping[str, str] | None = None) -> "Warehouse":
        """With the limits that ``PTUPCDR_MEMORY_LIMIT`` and ``PTUPCDR_THREADS`` set.

        Raises:
            WarehouseError: the number of threads is not a whole number of at least 1.
        """
        variables = os.environ if environment is None else environment
        threads = variables.get("PTUPCDR_THREADS", "").strip()
        if threads and not (threads.isdecimal() and int(threads) >= 1):
            raise WarehouseError(f"PTUPCDR_THREADS={threads}: expected a whole number of at least 1")
        limit = variables.get("PTUPCDR_MEMORY_LIMIT", "").strip()
        return cls(root, limit or None, int(threads) if threads else None)

    @property
    def limits(self) -> dict[str, Any]:
        """The limits that are set, as DuckDB's configuration names them."""
        given = {"memory_limit": self.memory_limit, "threads": self.threads}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def catalog(self) -> Path:
        """The file for people: one view a table, over all partitions."""
        return self.root / "ptupcdr.duckdb"

    def file(self, asset: str, partition: str) -> Path:
        """The file of the tables of one partition of an asset."""
        return self.root / asset / f"{partition}.duckdb"

    def folder(self, asset: str, partition: str) -> Path:
        """The folder of Parquet files that views of the partition's file read, a folder a version; mostly absent."""
        return self.root / asset / partition

    def drop_retired(self, asset: str, partition: str) -> None:
        """Remove those versions of a partition's Parquet files at once that none of its views reads."""
        if (folder := self.folder(asset, partition)).is_dir():
            with self.read(asset, partition) as connection:
                retire_others(folder, versions_read(connection, folder), kept_seconds=0)

    def exists(self, asset: str, partition: str) -> bool:
        """Whether that partition was ever written."""
        return self.file(asset, partition).is_file()

    def require(self, asset: str, partition: str) -> Path:
        """The partition's file.

        Raises:
            WarehouseError: it was never written; the message names the command that makes it.
        """
        path = self.file(asset, partition)
        if not path.is_file():
            raise WarehouseError(
                f"{asset} of {partition} is not in the warehouse ({path}): make it with `ptupcdr backfill` or "
                f"`dagster asset materialize -m ptupcdr_dagster.definitions --select {asset} --partition {partition}`"
            )
        return path

    def partitions(self, asset: str) -> list[str]:
        """The partitions of an asset that were written, sorted."""
        return sorted(path.stem for path in (self.root / asset).glob("*.duckdb"))

    @contextmanager
    def write(
        self,
        asset: str,
        partition: str,
        *,
        fingerprint: str = "",
        settings: Mapping[str, object] | None = None,
        read_by_others: str | None = None,
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """An open connection to a new file that takes the partition's place when the block ends without an error.

        Args:
            asset: the asset's name, for example ``"raw_ratings"``.
            partition: a domain's name or a pair's key.
            fingerprint: what the tables were made from; kept in the table ``provenance``.
            settings: what they were made with; kept there too.
            read_by_others: the one table that other assets read; None: all. A digest of it is kept there too; while
                that stays the same, other assets need not be made again.

        Raises:
            StorageError: the file cannot be written whole; the old one stays.
            WarehouseError: a number is NaN or infinite, or the memory limit is too low; the old file stays.
        """
        try:
            with replaced_database(self.file(asset, partition), self._new) as connection:
                yield connection
                if columns := not_finite(connection):
                    raise no_number(asset, partition, columns)
                _note_provenance(connection, asset, partition, fingerprint, settings or {}, read_by_others)
                folder = self.folder(asset, partition)
                read = versions_read(connection, folder)
        except duckdb.OutOfMemoryException as error:
            raise WarehouseError(f"{asset} of {partition}: raise PTUPCDR_MEMORY_LIMIT ({error})") from error
        retire_others(folder, read)
        views.rebuild(self.root, self.catalog, STORAGE)

    @contextmanager
    def read(self, asset: str, partition: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection in which the partition's tables are found by their bare names, or as those of the
        database ``partition_file``.

        Raises:
            WarehouseError: the partition was never written, or its file is damaged or of another format.
        """
        path = self.require(asset, partition)
        # Attached to an instance in memory: DuckDB has one instance a path and process, so connecting to the path
        # itself would show a replaced file's old rows for as long as a connection to it is open.
        with self.scratch() as connection:
            attach(connection, path, "partition_file")
            connection.execute("use partition_file")
            yield connection

    @contextmanager
    def scratch(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """An empty connection with the warehouse's limits, to attach several partitions to."""
        with instance(self.limits, self._spill()) as connection:
            yield _prepared(connection)

    def provenance(self, asset: str, partition: str) -> Provenance:
        """What a partition was made from, as its table ``provenance`` says.

        Raises:
            WarehouseError: it was never written, or its file is damaged.
        """
        place = self.require(asset, partition).stat()
        fingerprint, settings, content = _provenance(self, asset, partition, place.st_ino, place.st_mtime_ns)
        return Provenance(fingerprint, json.loads(settings), content)

    def read_whole(self, asset: str, partition: str) -> None:
        """Check that every row of a partition can be read; takes about 0.1 s per million ratings.

        Raises:
            WarehouseError: it was never written, or its file is damaged.
        """
        with self.read(asset, partition) as connection, _reading(self.file(asset, partition)):
            read_all(connection)

    @contextmanager
    def _new(self, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        spill = self._spill()
        config = {"temp_directory": str(spill), "storage_compatibility_version": STORAGE, **self.limits}
        try:
            with open_database(path, config) as connection:
                yield _prepared(connection)
        finally:
            shutil.rmtree(spill, ignore_errors=True)

    def _spill(self) -> Path:
        """A folder of its own for what does not fit in memory: DuckDB's spill files have the same names everywhere, and
        two processes would write into each other's."""
        return self.root / f".spill-{Owner.present()}-{uuid.uuid4().hex[:16]}"


def _prepared(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    # Local time zones would read one timestamp as different seconds on different machines.
    connection.execute("set TimeZone = 'UTC'")
    # Without a script's name DuckDB assumes an interactive user, and prints progress.
    connection.execute("set enable_progress_bar = false")
    return connection


@lru_cache(maxsize=4096)
def _provenance(warehouse: Warehouse, asset: str, partition: str, _inode: int, _written: int) -> tuple[str, str, str]:
    """The provenance in the file with this inode and time; cached, since a plan asks for each of them several times."""
    with warehouse.read(asset, partition) as connection, _reading(warehouse.file(asset, partition)):
        query = f"select fingerprint, settings, {CONTENT} from provenance"  # nosec B608 # ours
        [(fingerprint, settings, content)] = connection.execute(query).fetchall()
        return fingerprint, settings, content


def no_number(asset: str, partition: str, columns: Sequence[str]) -> WarehouseError:
    """The error for a table that is not kept because of NaN or infinity in these columns."""
    return WarehouseError(
        f"{asset} of {partition} was not kept: {', '.join(columns)} would hold NaN or an infinite number; choose a "
        "smaller learning_rate, or look for extreme values in the source files"
    )


def attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """Attach a partition's file for reading.

    Raises:
        WarehouseError: it is damaged, or of another format.
    """
    with _reading(path):
        connection.execute(f"attach {literal(path)} as {identifier(name)} (read_only)")
        found = _format_of(connection, name)
    remedy = f"materialize {path.parent.name} for {path.stem} again"
    if refused := formats.refusal("a file of tables", path, found, formats.TABLES, remedy):
        raise WarehouseError(refused)


def _format_of(connection: duckdb.DuckDBPyConnection, name: str) -> int | None:
    try:
        [(found,)] = connection.execute(f"select format from {identifier(name)}.provenance").fetchall()  # nosec B608 # quoted
    except (duckdb.CatalogException, duckdb.BinderException):  # no such table, no such column
        return None
    return int(found)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, ValueError) as error:
        again = f"materialize {path.parent.name} for {path.stem} again"
        raise WarehouseError(f"{path} is damaged ({error}): {again}") from error


def _note_provenance(
    connection: duckdb.DuckDBPyConnection,
    asset: str,
    partition: str,
    fingerprint: str,
    settings: Mapping[str, object],
    read_by_others: str | None,
) -> None:
    connection.execute(
        """create or replace table provenance as
        select ?::integer as format, ?::varchar as asset, ?::varchar as "partition", ?::varchar as fingerprint,
               ?::json as settings, now() as created_at, ?::varchar as content""",
        [
            formats.TABLES,
            asset,
            partition,
            fingerprint,
            json.dumps(settings, sort_keys=True),
            _content(connection, read_by_others),
        ],
    )


def _content(connection: duckdb.DuckDBPyConnection, only: str | None) -> str:
    """SHA-256 over the columns of tables and views, and over their rows in any order, by sums of the rows' hashes.

    Two different tables have one digest by accident only: two sums of 64-bit hashes would have to agree.
    """
    parts: list[object] = []
    for name in relations(connection):
        if name == "provenance" or only not in (None, name):
            continue
        table = identifier(name)
        described = f"select column_name, column_type from (describe {table})"  # nosec B608 # quoted
        columns = connection.execute(described).fetchall()
        sums = connection.execute(
            f"select count(*), sum(hash(t)::hugeint), sum(hash(17, t)::hugeint) from {table} as t"  # nosec B608 # quoted
        ).fetchall()
        parts.append([name, columns, *map(str, sums[0])])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
