"""People are forgotten in a home that has tables, models, bundles, pages, and runs of Dagster and MLflow.

``python tests/attack/forgetting.py FOLDER``.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from ground import Ground, contents, readable
from processes import PAIR, backfill

from ptupcdr_core.serving.forgetting import forget, named_in
from ptupcdr_core.store.home import Home

PEOPLE = ("user010", "user060", "user170")
"""A user of the source only, one of both domains, and one of the target only."""


def attack(ground: Ground, home: Home, *, seed: int = 1) -> dict[str, object]:
    """Forget these users, look for them in every file, then train again without them."""
    places = {path.relative_to(home.root).parts[0] for path in _naming(home)}
    assert {"warehouse", "mlflow"} <= places, places
    found = forget(home, PEOPLE)
    assert list(_naming(home)) == []
    readable(home)
    ended = backfill(home, ground.settings(seed), [PAIR])
    assert ended.failures == [], ended.failures
    assert list(_naming(home)) == []
    return {"people": len(PEOPLE), "stood in": sorted(places), "removed": sum(found.values())}


def _naming(home: Home) -> Iterator[Path]:
    """Files that contain one of their ids, as plain bytes or in compressed rows."""
    yield from named_in(home.root, PEOPLE)
    for path in home.root.rglob("*.parquet"):
        if not {*PEOPLE}.isdisjoint(pq.read_table(path)["user_id"].to_pylist()):
            yield path
    for (asset, partition, table), rows in contents(home).items():
        if any(person in row for person in PEOPLE for row in rows):
            yield home.warehouse / asset / partition / table


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    ground = Ground.prepare(parser.parse_args().folder, [("books", "movies")], "both")
    home = ground.home("forgetful")
    assert backfill(home, ground.settings(), [PAIR]).failures == []
    print(f"forgetting: {attack(ground, home)}")


if __name__ == "__main__":
    main()
