"""All stages on a quarter of the demo's people.

As a script, ``small_lineage.py HOME FILES THREADS`` runs both recipes and prints the hash of every table, so that
processes can be compared.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numba
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.gate.decision import judge, keep_verdict
from ptupcdr_core.kernels import csr
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources import demo
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.deployment import deploy
from ptupcdr_core.stages.embeddings import bridge_cold_users
from ptupcdr_core.stages.evaluation import evaluate_cold_start
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.stages.warm_start import evaluate_warm_start, fine_tune
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

PAIR = "books__movies"
SETTINGS = Settings(embedding_size=6, mode="rating")
"""As many coordinates as people of the demo have tastes; ranked lists have their own tests."""
FIRST_LEFT_OUT = "person-00525"
TABLES = {
    "domain_splits": ("split_users", "split_source_ratings", "split_target_ratings", "split_histories"),
    "bridged_embeddings": ("bridged_embeddings",),
    "cold_start_evaluation": ("cold_start_evaluation", "cold_start_errors"),
    "fine_tuned_embeddings": ("fine_tuned_embeddings",),
    "warm_start_evaluation": ("warm_start_evaluation", "warm_start_errors"),
    "deployed_model": ("deployed_model",),
    "recommendations": ("recommendations",),
}


def write_ratings(folder: Path) -> Path:
    """Write the people's ratings in both domains as Parquet files; ``untold`` is a person who likes nothing."""
    for name in ("books", "movies"):
        table = demo.generate(name)
        table = table.filter(pc.less(table["user_id"], FIRST_LEFT_OUT))
        if name == "books":
            dislikes = {
                "user_id": ["untold"] * 3,
                "item_id": [f"books-{n:04d}" for n in range(3)],
                "rating": [1.0, 2, 3],
            }
            table = pa.concat_tables([table, pa.table(dislikes | {"timestamp": [1, 2, 3]}, schema=table.schema)])
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def domains(folder: Path) -> tuple[Domain, Domain]:
    books, movies = (
        Domain(name=name, format="parquet", path=str(folder / f"{name}.parquet")) for name in ("books", "movies")
    )
    return books, movies


def run(home: Home, sides: tuple[Domain, Domain], settings: Settings) -> dict[str, StageReport]:
    """Run every stage from the ratings to recommendations; returns their reports by asset."""
    warehouse = Warehouse.from_environment(home.warehouse)
    for side in sides:
        ingest_domain(side, warehouse)
    build_split(Pair(source=sides[0].name, target=sides[1].name), *sides, warehouse, settings)
    reports = {
        "source_model": pretrain(home, PAIR, "source", settings, _silent),
        "target_model": pretrain(home, PAIR, "target", settings, _silent),
        "meta_network": train_bridges(home, PAIR, settings, _silent),
        "bridged_embeddings": bridge_cold_users(home, PAIR, settings),
        "cold_start_evaluation": evaluate_cold_start(home, PAIR, settings),
        "fine_tuned_embeddings": fine_tune(home, PAIR, settings),
        "warm_start_evaluation": evaluate_warm_start(home, PAIR, settings),
    }
    keep_verdict(home, PAIR, judge(home, PAIR), settings, model="", version="1", champion=None)
    return reports | {
        "deployed_model": deploy(home, PAIR, settings, _silent),
        "recommendations": recommend_cold_users(home, PAIR, settings),
    }


def read(home: Home, asset: str, query: str) -> list[tuple[Any, ...]]:
    with Warehouse.from_environment(home.warehouse).read(asset, PAIR) as connection:
        return connection.execute(query).fetchall()


def contents(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    return {
        table: read(home, asset, f"select * from {table} order by all")
        for asset, tables in TABLES.items()
        for table in tables
    }


def _silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


def hashes(home: Home) -> list[str]:
    """Every table's name and hash."""
    return [f"{table} {hashlib.sha256(repr(rows).encode()).hexdigest()}" for table, rows in contents(home).items()]


if __name__ == "__main__":
    root, files, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)
    csr.LEAST_WORK = 0
    for recipe in ("calibrated", "published"):
        home = Home(root / recipe)
        run(home, domains(files), SETTINGS.model_copy(update={"recipe": recipe, "no_gate": recipe == "published"}))
        print("\n".join(hashes(home)))
