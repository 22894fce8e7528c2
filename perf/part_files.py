"""A domain of many files, a few of them new, changed or deleted: the next ingest, compared with reading all of them.

    python perf/part_files.py --files 200 --rows 10000

Three files are new, one has changed and one is deleted. It fails if the tables are not the same, row for row.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ptupcdr_core.catalog import Columns, Domain
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

TABLES = ("raw_ratings", "rejected_ratings", "ingest_counts")


def main() -> None:
    """Write the files, read them, change some, and read them again: in the same home, and in a new one."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        files, home = Path(folder) / "parts", Path(folder)
        files.mkdir()
        for part in range(options.files):
            _write(files, part, options.rows)
        kept = Warehouse(home / "kept" / "warehouse")
        print(f"{os.cpu_count()} cores; {options.files} files of {options.rows:,} rows")
        print(f"first read      {_seconds(files, kept):6.2f} s")
        print(f"nothing changed {_seconds(files, kept):6.2f} s")
        for part in range(options.files, options.files + 3):
            _write(files, part, options.rows)
        _write(files, 7, options.rows, seed=options.files + 7)
        (files / "part-00011.parquet").unlink()
        print(f"3 new, 1 changed, 1 gone {_seconds(files, kept):6.2f} s")
        afresh = Warehouse(home / "afresh" / "warehouse")
        print(f"in a new home   {_seconds(files, afresh):6.2f} s")
        _require_same(kept, afresh)


def _write(folder: Path, part: int, rows: int, seed: int | None = None) -> None:
    """Write one file; some of its ratings replace earlier ones of other files."""
    draw = np.random.default_rng(part if seed is None else seed)
    columns = {
        "user_id": np.char.add("user", draw.integers(0, rows * 20, rows).astype(str)),
        "item_id": np.char.add("item", draw.integers(0, 5_000, rows).astype(str)),
        "rating": draw.integers(1, 7, rows),  # a sixth is off the scale
        "timestamp": draw.integers(0, 10**9, rows),
    }
    pq.write_table(pa.table(columns), folder / f"part-{part:05d}.parquet")


def _seconds(files: Path, warehouse: Warehouse) -> float:
    domain = Domain(
        name="books", format="parquet", path=str(files), columns=Columns(timestamp="timestamp"), scale=(1, 5)
    )
    start = time.perf_counter()
    ingest_domain(domain, warehouse)
    return time.perf_counter() - start


def _require_same(one: Warehouse, other: Warehouse) -> None:
    for table in TABLES:
        with one.read("raw_ratings", "books") as left, other.read("raw_ratings", "books") as right:
            rows, wanted = (own.sql(f"from {table}").to_arrow_table() for own in (left, right))  # nosec B608 # ours
        if not rows.equals(wanted):
            raise SystemExit(f"{table} differs from the one of a new home")
        print(f"{table}: {len(rows):,} rows, the same")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rows", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
