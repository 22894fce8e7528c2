"""Finished cells on disk: a folder a cell, named by everything that it depends on, that appears whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.errors import StorageError
from ptupcdr_core.experiments.grid import Cell
from ptupcdr_core.settings import FOR_RANKING, FOR_RECOMMENDATIONS
from ptupcdr_core.store.home import PACKAGE
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.warehouse import Warehouse

TABLES = ("benchmark", "benchmark_errors", "benchmark_slices")
CODE = ("methods/*.py", "models/*.py", "training/*.py", "kernels/*.py", "engines/*.py", "sql/split.sql",
        "data/pair_data.py", "data/splits.py", "evaluation/choosing.py", "evaluation/slices.py")  # fmt: skip
"""Whatever can change a cell: after an edit there, old cells are left aside."""
UNUSED = FOR_RECOMMENDATIONS | FOR_RANKING | {"setting"}


@dataclass(frozen=True)
class CellStore:
    """The finished cells of one pair.

    Args:
        folder: made when first written to.
        ratings: fingerprint of both domains' ratings.
    """

    folder: Path
    ratings: str

    def has(self, cell: Cell) -> bool:
        """Whether a cell was finished, by this code and on these ratings."""
        return self.place(cell).is_dir()

    def place(self, cell: Cell) -> Path:
        """The cell's folder."""
        entries = {
            "method": cell.method.name,
            "base_model": cell.base_model,
            "family": cell.family,
            "settings": {k: v for k, v in cell.settings.model_dump(mode="json").items() if k not in UNUSED},
            "ratings": self.ratings,
            "code": training_code(),
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


def ratings_fingerprint(warehouse: Warehouse, *domains: str) -> str:
    """What the cleaned ratings of these domains are, in their order.

    Raises:
        WarehouseError: a domain was not ingested.
    """
    known = []
    for domain in domains:
        with warehouse.read("raw_ratings", domain) as connection:
            query = 'select count(*), bit_xor(hash(rowid, user_id, item_id, rating, "timestamp")) from raw_ratings'
            known.append([domain, *connection.execute(query).fetchall()[0]])
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


@cache
def training_code(*more: str) -> str:
    """What the code is that a training's result depends on, these further files of the package included."""
    files = sorted(path for pattern in (*CODE, *more) for path in PACKAGE.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
