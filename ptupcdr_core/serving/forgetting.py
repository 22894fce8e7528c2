"""Forgetting people: their rows leave everything that a home keeps, and no later ingest takes them in again.

A model's vectors cannot be matched to a person once the split has no id for them; the next training removes them. What
was changed counts as out of date, so the next backfill makes it again without these people.

Shapes: N ids.
"""

import html
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.sources.people import Forgotten
from ptupcdr_core.sources.verify import CHUNK, compression_of, is_database, is_parquet
from ptupcdr_core.sql import identifier
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.warehouse import Warehouse, attach

NOBODY = "forgotten"
"""Replaces a person's id in rows that have to stay, so that others keep their indices."""


def forget(home: Home, ids: Sequence[str]) -> dict[str, int]:
    """Remove people from a home, and note them for later ingests.

    Args:
        home: where everything generated lives.
        ids: (N,) all ids of these people, in all domains.

    Returns:
        What was found, by place: rows by table, ids by bundle, and how many pages and examples named them.

    Raises:
        WarehouseError: a table file is damaged.
        StorageError: something cannot be written; what was done until then is kept, and the command can be repeated.
    """
    Forgotten.of(home).add(ids)
    found: Counter[str] = Counter()
    warehouse = Warehouse.from_environment(home.warehouse)
    for path in sorted(home.warehouse.glob("*/*.duckdb")):
        asset, partition = path.parent.name, path.stem
        found.update(dict(_from_tables(warehouse, asset, partition, ids)))
        warehouse.drop_retired(asset, partition)
    for path in sorted(home.reads.rglob("*.parquet")):
        if _from_parquet(path, ids):
            path.unlink()  # a cached read is whole or not kept
            found[str(path.relative_to(home.root))] += 1
    for path in sorted(home.downloads.rglob("[!.]*")):
        if path.is_file() and _stand_in_copy(path, ids):
            path.unlink()  # so is a download: the next ingest fetches it again, and keeps none that names them
            found[str(path.relative_to(home.root))] += 1
    for folder in (home.bundles, home.benchmark, home.reports, home.data_docs, home.mlflow):
        found.update({str(path.relative_to(home.root)): amount for path, amount in forget_in(folder, ids)})
    return {place: amount for place, amount in found.items() if amount}


def forget_in(folder: Path, ids: Sequence[str]) -> Iterator[tuple[Path, int]]:
    """Remove people from the files below a folder; yield those that named them, a page after it was removed.

    Args:
        folder: with files that this project has written.
        ids: (N,) all ids of these people.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (amount := _from_file(path, ids)):
            yield path, amount


def named_in(root: Path, ids: Sequence[str]) -> Iterator[Path]:
    """Files below a folder whose bytes contain one of the ids."""
    wanted = [id.encode() for id in ids]
    for path in sorted(root.rglob("*")):
        if path.is_file() and any(id in path.read_bytes() for id in wanted):
            yield path


def _from_tables(warehouse: Warehouse, asset: str, partition: str, ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Write one file's tables again without the people, if they are in it."""
    with warehouse.read(asset, partition) as connection:
        columns: dict[str, list[str]] = dict(
            connection.execute(
                "select table_name, list(column_name) from duckdb_columns() "
                "where database_name = current_database() group by all order by all"
            ).fetchall()
        )
        indices: list[int] = []
        if "split_users" in columns:
            query = "select user_index from split_users where user_id in (select unnest(?))"
            indices = [index for (index,) in connection.execute(query, [list(ids)]).fetchall()]
        conditions = {table: _condition(table, names) for table, names in columns.items()}
        counts = {
            table: _count(connection, table, condition, ids, indices)
            for table, condition in conditions.items()
            if condition
        }
    if not any(counts.values()):
        return
    settings = warehouse.provenance(asset, partition)[1]
    with warehouse.write(asset, partition, settings=settings) as connection:
        attach(connection, warehouse.file(asset, partition), "before")
        for table in columns.keys() - {"provenance"}:
            connection.execute(*_copied(table, conditions[table], ids, indices))
        connection.execute("detach before")
    yield from ((f"{asset}/{partition}: {table}", amount) for table, amount in counts.items())


def _condition(table: str, columns: Sequence[str]) -> str:
    """Which rows of a table are the people's; empty where a table is not about people."""
    if "user_id" in columns:
        return "user_id in (select unnest($ids::varchar[]))"
    return "user_index in (select unnest($indices::bigint[]))" if "user_index" in columns else ""


def _parameters(condition: str, ids: Sequence[str], indices: Sequence[int]) -> dict[str, Any]:
    return {name: list(own) for name, own in (("ids", ids), ("indices", indices)) if f"${name}" in condition}


def _count(
    connection: duckdb.DuckDBPyConnection, table: str, condition: str, ids: Sequence[str], indices: Sequence[int]
) -> int:
    query = f"select count(*) from {identifier(table)} where {condition}"  # nosec B608 # quoted
    [(amount,)] = connection.execute(query, _parameters(condition, ids, indices)).fetchall()
    return int(amount)


def _copied(table: str, condition: str, ids: Sequence[str], indices: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """The statement that copies a table without the people."""
    chosen, old = "*", f"before.{identifier(table)}"
    if table == "split_users":  # others' numbers must stay as the models know them
        chosen, where = f"* replace (if({condition}, '{NOBODY} ' || user_index, user_id) as user_id)", ""
    else:
        where = f" where not coalesce({condition}, false)" if condition else ""
    query = f"create table {identifier(table)} as select {chosen} from {old}{where}"  # nosec B608 # quoted
    return query, _parameters(condition, ids, indices)


def _from_file(path: Path, ids: Sequence[str]) -> int:
    """Remove the people from one file, or a page that names them altogether; return how often they were found."""
    match path.suffix:
        case ".parquet":
            return _from_parquet(path, ids)
        case ".safetensors":
            return _from_bundle(path, ids)
        case ".html" if _named(path.read_text(encoding="utf-8", errors="replace"), ids):  # it may be anybody's
            path.unlink()
            return 1
        case ".json" if path.name.endswith("input_example.json"):
            return _from_example(path, ids)
    return 0


def _named(page: str, ids: Sequence[str]) -> bool:
    return any(id in page or html.escape(id) in page for id in ids)


def _stand_in_copy(path: Path, ids: Sequence[str]) -> bool:
    """Whether a downloaded file (Parquet, or text, maybe compressed) holds one of the ids; a database may."""
    if is_database(path):
        return True
    if is_parquet(path):
        table, wanted = pq.read_table(path), pa.array(ids, pa.string())
        texts = (column for column in table.columns if pa.types.is_string(column.type))
        return any(pc.any(pc.is_in(column, value_set=wanted)).as_py() for column in texts)
    named, rest = [name.encode() for id in ids for name in {id, json.dumps(id)[1:-1]}], b""
    with pa.input_stream(str(path), compression=compression_of(path)) as stream:
        while chunk := stream.read(CHUNK):
            text = rest + chunk
            if any(name in text for name in named):
                return True
            rest = text[-max(map(len, named)) :]
    return False


def _from_parquet(path: Path, ids: Sequence[str]) -> int:
    table = pq.read_table(path)
    if "user_id" not in table.column_names:
        return 0
    theirs = pc.is_in(table["user_id"].cast(pa.string()), value_set=pa.array(ids, pa.string()))
    amount = int(pc.sum(theirs).as_py() or 0)
    if amount:
        with replaced(path) as temporary:
            pq.write_table(table.filter(pc.invert(theirs)), temporary)
    return amount


def _from_bundle(path: Path, ids: Sequence[str]) -> int:
    """Remove known users' vectors from a bundle; checkpoints hold no ids."""
    try:
        bundle = Bundle.load(path)
    except ArtifactError:
        return 0
    kept = {name: _without(mode, ids) for name, mode in bundle.modes.items()}
    amount = sum(
        len(mode.part.known.ids) - len(after.part.known.ids)
        for mode, after in zip(bundle.modes.values(), kept.values(), strict=True)
        if mode.part.known and after.part.known
    )
    if amount:
        replace(bundle, modes=kept).save(path)
    return amount


def _without(mode: BundledMode, ids: Sequence[str]) -> BundledMode:
    known = mode.part.known
    if known is None:
        return mode
    others = ~np.asarray(pc.is_in(known.ids, value_set=pa.array(ids, pa.string())))
    left = replace(known, ids=known.ids.filter(pa.array(others)), vectors=known.vectors[others])
    return replace(mode, part=replace(mode.part, known=left))


def _from_example(path: Path, ids: Sequence[str]) -> int:
    """Replace the ids in the input example of a registered model."""
    text = path.read_text()
    amount = sum(text.count(json.dumps(id)) for id in ids)
    if amount:
        for id in ids:
            text = text.replace(json.dumps(id), json.dumps(NOBODY))
        with replaced(path) as temporary:
            temporary.write_text(text)
    return amount
