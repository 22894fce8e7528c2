"""One DuckDB file an (asset, partition), replaced atomically, and a catalog of views over all of them.

DuckDB lets one process at a time write a file, and no other read it meanwhile. So nothing is ever written in place:
a table file is built under a temporary name beside its place and renamed over it. Readers see the old file or the new
one, never a lock and never half a table.
"""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ptupcdr_core import views
from ptupcdr_core.errors import WarehouseError

# A DuckDB 1.x client must be able to read the files; 2.0's own default format it could not.
STORAGE = "v1.4.0"


@dataclass(frozen=True)
class Warehouse:
    """The folder of table files.

    Args:
        root: the folder; made when first written to.
        memory_limit: as DuckDB writes it, for example ``"4GB"``; None leaves DuckDB's default (80 % of the memory).
        threads: at most this many; None takes one a core.
    """

    root: Path
    memory_limit: str | None = None
    threads: int | None = None

    @classmethod
    def from_environment(cls, root: Path, environment: Mapping[str, str] | None = None) -> "Warehouse":
        """With the limits that ``PTUPCDR_MEMORY_LIMIT`` and ``PTUPCDR_THREADS`` set."""
        variables = os.environ if environment is None else environment
        threads = variables.get("PTUPCDR_THREADS", "").strip()
        if threads and not (threads.isdecimal() and int(threads) >= 1):
            raise WarehouseError(f"PTUPCDR_THREADS={threads}: expected a whole number of at least 1")
        limit = variables.get("PTUPCDR_MEMORY_LIMIT", "").strip()
        return cls(root, limit or None, int(threads) if threads else None)

    @property
    def catalog(self) -> Path:
        """The file for people: one view a table, over all partitions."""
        return self.root / "ptupcdr.duckdb"

    def file(self, asset: str, partition: str) -> Path:
        """Where the tables of one partition of an asset stand."""
        return self.root / asset / f"{partition}.duckdb"

    def exists(self, asset: str, partition: str) -> bool:
        """Whether that partition was ever written."""
        return self.file(asset, partition).is_file()

    def partitions(self, asset: str) -> list[str]:
        """The partitions of an asset that stand, sorted."""
        return sorted(path.stem for path in (self.root / asset).glob("*.duckdb"))

    @contextmanager
    def write(
        self, asset: str, partition: str, *, fingerprint: str = "", settings: Mapping[str, object] | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """An open connection to a new file that takes the partition's place when the block ends without an error.

        Args:
            asset: the asset's name, for example ``"raw_ratings"``.
            partition: a domain's name or a pair's key.
            fingerprint: what the tables were made from; kept in the table ``provenance``.
            settings: what they were made with; kept there too.

        Raises:
            WarehouseError: the folder cannot be written.
        """
        path = self.file(asset, partition)
        # The name neither matches the views' pattern nor another writer's.
        temporary = path.with_name(f".{partition}.{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._connect(temporary) as connection:
                connection.execute("set TimeZone = 'UTC'")
                yield connection
                _note_provenance(connection, asset, partition, fingerprint, settings or {})
            os.replace(temporary, path)
        except OSError as error:
            raise WarehouseError(f"{path} cannot be written ({error}): check PTUPCDR_HOME and the disk") from error
        finally:
            temporary.unlink(missing_ok=True)
            temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)
        views.rebuild(self.root, self.catalog, STORAGE)

    @contextmanager
    def read(self, asset: str, partition: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection in which the partition's tables are found by their bare names.

        Raises:
            WarehouseError: the partition was never written.
        """
        path = self.file(asset, partition)
        if not path.is_file():
            raise WarehouseError(
                f"{asset} of {partition} is not in the warehouse ({path} is missing): "
                f"make it with `ptupcdr backfill` or by materializing the asset {asset} for that partition"
            )
        # Attached to a fresh in-memory instance: DuckDB hands out one instance a path and process, so connecting to
        # the path itself would show a replaced file's old rows for as long as anybody holds a connection to it.
        with duckdb.connect(config=self._limits()) as connection:
            connection.execute(f"attach {views.literal(path)} as partition_file (read_only)")
            connection.execute("use partition_file")
            yield connection

    def _connect(self, path: Path) -> duckdb.DuckDBPyConnection:
        spill = self.root / ".spill"
        return duckdb.connect(
            str(path), config={"storage_compatibility_version": STORAGE, "temp_directory": str(spill)} | self._limits()
        )

    def _limits(self) -> dict[str, str | bool | int | float | list[str]]:
        limits = {"memory_limit": self.memory_limit, "threads": self.threads}
        return {name: value for name, value in limits.items() if value is not None}


def _note_provenance(
    connection: duckdb.DuckDBPyConnection, asset: str, partition: str, fingerprint: str, settings: Mapping[str, object]
) -> None:
    connection.execute(
        """create or replace table provenance as
        select ?::varchar as asset, ?::varchar as "partition", ?::varchar as fingerprint, ?::json as settings,
               now() as created_at""",
        [asset, partition, fingerprint, json.dumps(settings, sort_keys=True)],
    )
