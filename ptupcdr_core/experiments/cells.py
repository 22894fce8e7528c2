"""Finished cells on disk: a folder a cell, named by everything that it depends on, that appears whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import StorageError
from ptupcdr_core.experiments.grid import Cell
from ptupcdr_core.store import formats
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.versions import RESULTS

TABLES = ("benchmark", "benchmark_errors", "benchmark_slices")
KEPT = RESULTS["benchmark_cell"]


@dataclass(frozen=True)
class CellStore:
    """The finished cells of one pair.

    Args:
        folder: made when first written to.
        ratings: fingerprint of both domains' ratings and scales.
    """

    folder: Path
    ratings: str

    def has(self, cell: Cell) -> bool:
        """Whether a cell was finished, by this code and on these ratings."""
        return self.place(cell).is_dir()

    def place(self, cell: Cell) -> Path:
        """The cell's folder."""
        entries = {
            "format": formats.CELL,
            "method": cell.method.name,
            "base_model": cell.base_model,
            "family": cell.family,
            "settings": KEPT.relevant(cell.settings),
            "ratings": self.ratings,
            "code": [KEPT.version, cell.method.version],
        }
        return self.folder / hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:24]

    def save(self, cell: Cell, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write a cell's tables at once: a run that is killed meanwhile leaves nothing that looks finished.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            with replaced(self.place(cell)) as temporary:
                temporary.mkdir()
                for name, table in tables.items():
                    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), temporary / f"{name}.parquet")
        except StorageError:
            if not self.has(cell):  # another process may have finished the same cell in the meantime
                raise

    def rows(self, cell: Cell) -> pd.DataFrame:
        """A finished cell's rows of the table ``benchmark``."""
        return pd.read_parquet(self.place(cell) / "benchmark.parquet")

    def files(self, cells: list[Cell], table: str) -> list[str]:
        """Where one table of these cells stands."""
        return [str(self.place(cell) / f"{table}.parquet") for cell in cells]


def ratings_fingerprint(warehouse: Warehouse, *domains: Domain) -> str:
    """What the cleaned ratings of these domains are and the scales they are on, in their order.

    Raises:
        WarehouseError: a domain was not ingested.
    """
    known = []
    for domain in chain.from_iterable(own.each for own in domains):
        with warehouse.read("raw_ratings", domain.name) as connection:
            value = "rating" if domain.stars else "events, weight"
            query = f'select count(*), bit_xor(hash(rowid, user_id, item_id, {value}, "timestamp")) from raw_ratings'  # nosec B608 # own columns
            known.append([domain.name, domain.stars, *connection.execute(query).fetchall()[0]])
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()
