"""The default settings on five pairs of released ratings: 75 cells in each mode, as tables.

    python perf/released_pairs.py /tmp/cells                                  everything; resumes where it was stopped
    python perf/released_pairs.py /tmp/cells --pairs book__music --betas 0.2 --modes rating
    python perf/released_pairs.py /tmp/choices --seeds 21 22 23 24 --on bridge    to choose between variants
    python perf/released_pairs.py /tmp/cells --print                          only print what is there

The folder keeps every cell's results: ``*.methods.parquet``, and ``*.users.parquet`` with each user's own. Use a new
folder for another version of the code. Without the released ratings (``../shared`` beside the checkout) nothing is run.
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import get_args

import pandas as pd
from cell_tables import tables
from released import DATA, PAIRS, Cell, Measured, measure, splits_of

from ptupcdr_core.settings import Mode
from ptupcdr_core.store.replacing import replaced

METHODS, USERS = "methods", "users"


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    if not DATA.is_dir():
        print(f"skipped: no released ratings in {DATA}")
        return
    cells = _cells(options)
    if not options.print:
        _run(cells, options.folder)
    for mode in options.modes:
        found = [cell for cell in cells if cell.mode == mode and _file(options.folder, cell, METHODS).is_file()]
        if found:
            print("\n\n".join(tables(mode, *(_read(options.folder, found, kind) for kind in (METHODS, USERS)))), "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for results, cleaned ratings and splits")
    keys = [pair.key for pair in PAIRS]
    parser.add_argument("--pairs", nargs="+", choices=keys, default=keys)
    parser.add_argument("--betas", nargs="+", type=float, default=[0.2, 0.5, 0.8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[900, 1000, 10, 2020, 500])
    parser.add_argument("--modes", nargs="+", choices=get_args(Mode), default=get_args(Mode))
    parser.add_argument("--on", choices=get_args(Measured), default="test", help="on whom to measure")
    parser.add_argument("--print", action="store_true", help="run nothing")
    return parser.parse_args()


def _cells(options: argparse.Namespace) -> list[Cell]:
    pairs = [pair for pair in PAIRS if pair.key in options.pairs]
    return [Cell(*of, options.on) for of in product(pairs, options.betas, options.seeds, options.modes)]


def _run(cells: list[Cell], folder: Path) -> None:
    missing = [cell for cell in cells if not _file(folder, cell, METHODS).is_file()]
    splits = splits_of(folder, [pair for pair in PAIRS if any(cell.pair == pair for cell in missing)])
    for number, cell in enumerate(missing, 1):
        print(f"{number}/{len(missing)} {cell.name}", file=sys.stderr, flush=True)
        methods, users = measure(cell, splits[cell.pair.key])
        for kind, table in ((USERS, users), (METHODS, methods)):  # methods last: they mark a cell as complete
            with replaced(_file(folder, cell, kind)) as temporary:
                table.to_parquet(temporary, index=False)


def _file(folder: Path, cell: Cell, kind: str) -> Path:
    return folder / f"{cell.name}.{kind}.parquet"


def _read(folder: Path, cells: list[Cell], kind: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(_file(folder, cell, kind)) for cell in cells], ignore_index=True)


if __name__ == "__main__":
    main()
