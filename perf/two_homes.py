"""Compares two homes of the same backfill: tables, models, pages, checks and MLflow's records.

    python perf/two_homes.py HOME OTHER

Prints a line for each thing, with the difference, and exits with 1 if something differs by more than rounding. Ratings
and splits must have the same rows in the same order; base models may differ by 2e-6 of the largest number of a table,
embeddings by 1e-6, lists by ties, and measures of quality by 1e-3, since rounding may swap two items.
"""

import argparse
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dagster import DagsterEventType, DagsterInstance
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ptupcdr_core.store.artifacts import read_manifest
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

SAME = ("raw_ratings", "domain_splits")
MODEL, EMBEDDING, SCORE, MEASURE = 2e-6, 1e-6, 1e-5, 1e-3
SAMPLED, SAMPLE = ("training_loss", "ranking_fit"), 1e-2
"""Measures with one of these in their names may differ by so much: blocks of ratings draw another sample."""
TIMES = ("night",)
"""Columns that say when something was made; they are not compared."""
Line = tuple[str, str, bool]
"""What was compared, what was found, and whether that is right."""


def main() -> None:
    """Compare the homes that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("homes", type=Path, nargs=2, metavar="HOME")
    sys.exit(not report(*parser.parse_args().homes))


def report(one: Path, other: Path) -> bool:
    """Print all lines; returns whether everything is right."""
    right = True
    for name, found, well in compared(Home(one), Home(other)):
        print(f"{'  ' if well else '! '}{name}: {found}", flush=True)
        right &= well
    return right


def compared(one: Home, other: Home) -> Iterator[Line]:
    """Everything that two homes hold."""
    for part in (tables, models, pages, checks, records):
        yield from part(one, other)


def tables(one: Home, other: Home) -> Iterator[Line]:
    """All tables and views of the two warehouses."""
    first, second = Warehouse(one.warehouse), Warehouse(other.warehouse)
    for place in (yield from _in_both(first.root, second.root, "*/*.duckdb")):
        asset, partition = place.parent.name, place.stem
        left, right = (_tables(warehouse, asset, partition) for warehouse in (first, second))
        if asset in SAME and [*left] != [*right]:
            yield f"{asset} {partition}", f"tables {[*left]} and {[*right]}", False
        for name in left:
            yield (f"{asset} {partition} {name}", *_rows(name, left[name], right[name], exact=asset in SAME))


def _in_both(one: Path, other: Path, pattern: str) -> Generator[Line, None, list[Path]]:
    """Files that both homes have; yields a line for each file that only one has."""
    found = [{file.relative_to(root) for file in root.glob(pattern)} for root in (one, other)]
    for place in sorted(found[0] ^ found[1]):
        yield str(place), f"only in {one if place in found[0] else other}", False
    return sorted(found[0] & found[1])


def _tables(warehouse: Warehouse, asset: str, partition: str) -> dict[str, pa.Table]:
    with warehouse.read(asset, partition) as connection:
        names = connection.execute(
            "select distinct table_name from duckdb_columns() where database_name = current_database() "
            "and table_name <> 'provenance' order by all"
        ).fetchall()
        return {name: connection.sql(f'from "{name}"').to_arrow_table() for (name,) in names}


def _rows(name: str, one: pa.Table, other: pa.Table, *, exact: bool) -> tuple[str, bool]:
    if one.column_names != other.column_names or len(one) != len(other):
        return f"{len(one):,} rows of {one.column_names}, {len(other):,} of {other.column_names}", False
    if one.equals(other):
        return f"{len(one):,} rows, the same in the same order", True
    differ = {
        column: _difference(one[column], other[column])
        for column in one.column_names
        if column not in TIMES and not one[column].equals(other[column])
    }
    what = f"{len(one):,} rows; " + ", ".join(f"{column} {said}" for column, (said, _) in differ.items())
    if name == "recommendations":
        return f"{what}; {(swapped := _swapped(one, other))[0]}", swapped[1]
    most = EMBEDDING if name == "bridged_embeddings" else MEASURE
    return what, not exact and all(size <= most for _, size in differ.values())


def _difference(one: pa.ChunkedArray, other: pa.ChunkedArray) -> tuple[str, float]:
    """The difference in words, and as a number: infinity if texts or lengths differ."""
    while pa.types.is_list(one.type) or pa.types.is_fixed_size_list(one.type):
        if not pc.list_value_length(one).equals(pc.list_value_length(other)):
            return f"{_count(pc.list_value_length(one), pc.list_value_length(other)):,} other lengths", float("inf")
        one, other = pc.list_flatten(one), pc.list_flatten(other)
    if not pa.types.is_floating(one.type):
        return f"{_count(one, other):,} of {len(one):,} differ", float("inf")
    size = largest(one.to_numpy(), other.to_numpy())
    return f"by at most {size:.1e}", size


def _count(one: pa.ChunkedArray, other: pa.ChunkedArray) -> int:
    return sum(a != b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True))


def largest(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference; infinity if a number is missing on one side only."""
    missing = np.isnan(one), np.isnan(other)
    if not np.array_equal(*missing):
        return float("inf")
    return float(np.abs(one - other)[~missing[0]].max(initial=0))


def _swapped(one: pa.Table, other: pa.Table) -> tuple[str, bool]:
    """How many items differ: only ties may, so every place must have the same score, up to rounding."""
    if any(not one[column].equals(other[column]) for column in ("user_id", "mode", "rank")):
        return "other people", False
    scores, others = one["score"].to_numpy(), other["score"].to_numpy()
    size = largest(scores, others) / max(1.0, float(np.abs(scores).max()))
    return f"{_count(one['item_id'], other['item_id']):,} other items, scores by {size:.1e}", size <= SCORE


def models(one: Home, other: Home) -> Iterator[Line]:
    """Checkpoints and bundles: the largest difference of their tensors, relative to a tensor's largest number."""
    places = yield from _in_both(one.root, other.root, "models/*/*.json")
    places += yield from _in_both(one.root, other.root, "bundles/*/*.safetensors")
    for place in places:
        first, second = (load_file(_weights(home.root / place)) for home in (one, other))
        apart = {
            name: largest(*(found[name].astype(np.float64) for found in (first, second)))
            / max(1e-30, float(np.abs(first[name].astype(np.float64)).max(initial=0)))
            for name in first
            if first[name].size and first[name].shape == second[name].shape
        }
        shapes = {name: tensor.shape for name, tensor in first.items()} == {k: v.shape for k, v in second.items()}
        worst = max(apart, key=lambda name: apart[name])
        base = "source_model" in str(place) or "target_model" in str(place)
        well = shapes and (not base or apart[worst] <= MODEL)
        yield str(place), f"{len(first)} tensors, by at most {apart[worst]:.1e} ({worst})", well


def _weights(file: Path) -> Path:
    """The tensors of a bundle, or of a checkpoint's manifest, which names them by their digest."""
    return file.parent / read_manifest(file.parent, file.stem)["weights"] if file.suffix == ".json" else file


def pages(one: Home, other: Home) -> Iterator[Line]:
    """Reports and Data Docs: whether both homes have the same pages."""
    for name in ("reports", "data_docs"):
        found = [
            {str(file.relative_to(home.root)) for file in (home.root / name).rglob("*.html")} for home in (one, other)
        ]
        yield name, f"{len(found[0])} and {len(found[1])} pages", found[0] == found[1]


def checks(one: Home, other: Home) -> Iterator[Line]:
    """The results of the checks."""
    first, second = (_checks(home) for home in (one, other))
    differ = sorted(name for name in first | second if first.get(name) != second.get(name))
    passed = sum(first.values()), sum(second.values())
    yield (
        "checks",
        f"{len(first)} and {len(second)}, of which {passed[0]} and {passed[1]} passed; {differ=}",
        not differ,
    )


def _checks(home: Home) -> dict[tuple[str, str, str | None], bool]:
    instance = DagsterInstance.from_config(str(home.root / "dagster"))
    found = {}
    for run in reversed([*instance.get_runs()]):
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION):
            assert entry.dagster_event is not None
            said = entry.dagster_event.asset_check_evaluation_data
            found[said.asset_key.to_user_string(), said.check_name, said.partition] = said.passed
    return found


def records(one: Home, other: Home) -> Iterator[Line]:
    """MLflow's runs, their parameters and their metrics."""
    first, second = (_records(home) for home in (one, other))
    yield "MLflow runs", f"{len(first)} and {len(second)}", [*first] == [*second]
    for name in sorted(first.keys() & second.keys()):
        (params, metrics), (others, measures) = first[name], second[name]
        if [*metrics] != [*measures]:
            yield f"MLflow {name}", f"other measures: {sorted({*metrics} ^ {*measures})}", False
            continue
        apart = {key: abs(metrics[key] - measures[key]) / max(1.0, abs(metrics[key])) for key in metrics}
        worst = max(apart, key=lambda key: apart[key], default="none")
        differ = sorted(key for key in params | others if params.get(key) != others.get(key))
        said = f"{len(metrics)} measures by at most {apart.get(worst, 0):.1e} ({worst}), {len(params)} parameters"
        well = not differ and all(size <= (SAMPLE if key.endswith(SAMPLED) else MEASURE) for key, size in apart.items())
        yield f"MLflow {name}", f"{said}{f', other: {differ}' if differ else ''}", well


def _records(home: Home) -> dict[str, tuple[dict[str, str], dict[str, float]]]:
    client = mlflow.MlflowClient(f"sqlite:///{home.root}/mlflow/mlflow.db")
    runs = [run for found in client.search_experiments() for run in client.search_runs([found.experiment_id])]
    named = {re.sub(r" [0-9a-f]{8}$", "", run.info.run_name or ""): run.data for run in runs}
    return {name: (dict(named[name].params), dict(sorted(named[name].metrics.items()))) for name in sorted(named)}


if __name__ == "__main__":
    main()
