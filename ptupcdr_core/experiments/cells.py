"""Finished cells on disk: a folder a cell, named by a digest of all that it depends on; it appears whole or not at
all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.catalog import Domain
from ptupcdr_core.data.splits import columns_of, place_of
from ptupcdr_core.errors import StorageError
from ptupcdr_core.experiments.grid import AnyCell
from ptupcdr_core.store import formats
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.warehouse import Warehouse


@dataclass(frozen=True)
class CellStore:
    """The finished cells of one pair.

    Args:
        folder: made when first written to.
        ratings: fingerprint of both domains' ratings and scales.
    """

    folder: Path
    ratings: str

    def has(self, cell: AnyCell) -> bool:
        """Whether a cell was finished, by this code and on these ratings."""
        return self.place(cell).is_dir()

    def place(self, cell: AnyCell) -> Path:
        """The cell's folder."""
        entries = {"format": formats.CELL, "ratings": self.ratings, **cell.identity}
        return self.folder / hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:24]

    def save(self, cell: AnyCell, tables: Mapping[str, pd.DataFrame]) -> None:
        """Write a cell's tables in one step: a run that is killed meanwhile leaves nothing that looks finished.

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

    def rows(self, cell: AnyCell) -> pd.DataFrame:
        """The rows of a finished cell's first table: one a recipe, or for lists one a method."""
        return pd.read_parquet(self.place(cell) / f"{cell.tables[0]}.parquet")

    def files(self, cells: Sequence[AnyCell], table: str) -> list[str]:
        """The files of one table, for those of these cells that have it."""
        return [str(self.place(cell) / f"{table}.parquet") for cell in cells if table in cell.tables]


def ratings_fingerprint(warehouse: Warehouse, *domains: Domain) -> str:
    """A digest of the cleaned ratings and scales of these domains, in their order.

    Raises:
        WarehouseError: a domain was not ingested.
    """
    known = []
    for domain in chain.from_iterable(own.each for own in domains):
        with warehouse.read("raw_ratings", domain.name) as connection:
            value = "rating" if domain.stars else "events, weight"
            place = place_of(columns_of(connection, "raw_ratings"))
            query = f'select count(*), bit_xor(hash({place}, user_id, item_id, {value}, "timestamp")) from raw_ratings'  # nosec B608 # own columns
            known.append([domain.name, domain.stars, *connection.execute(query).fetchall()[0]])
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()
