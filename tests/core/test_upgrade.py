"""A home written by an earlier release: everything in it is read as it was, or refused by name with a remedy.

``homes/`` has one for each release, and the first one that had bundles, without machine-specific files: one pair of
small domains, mode rating. ``prepared`` of tests/attack/disks.py makes such a home.
"""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.experiments.readout import read_evaluation
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import recommend
from ptupcdr_core.store.artifacts import read_manifest, read_whole
from ptupcdr_core.store.bundles import CANDIDATE, CHAMPION, DEPLOYED, bundle_file
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

PAIR = "books__movies"
RELEASES = sorted(file.name.removesuffix(".tar.xz") for file in (Path(__file__).parent / "homes").glob("*.tar.xz"))
EVALUATED = {"ptupcdr": 0.7694, "emcdr": 0.7736, "item_mean": 1.22, "source_offset": 1.2214}
RECOMMENDED = ["movies-16", "movies-22", "movies-02"]
MODELS = ("source_model", "target_model", "meta_network")


@pytest.fixture(scope="module", params=RELEASES)
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("old")
    with tarfile.open(Path(__file__).parent / "homes" / f"{request.param}.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return Home(root)


def read_or_refused(place: Path, read: Callable[[], object], expected: object) -> None:
    """No other error is let through than one of ours that names the file, or its home, and what to do."""
    try:
        assert read() == expected
        return
    except PtupcdrError as error:
        told = str(error)
    assert str(place) in told
    assert "again" in told or "backfill" in told


def test_tables_are_read_or_refused_by_name(old: Home) -> None:
    warehouse = Warehouse(old.warehouse, threads=1)
    files = sorted(old.warehouse.glob("*/*.duckdb"))
    assert len(files) == 10
    for file in files:
        asset, partition = file.parent.name, file.stem
        read_or_refused(file, lambda a=asset, p=partition: warehouse.read_whole(a, p), None)  # type: ignore[misc]
        read_or_refused(file, lambda a=asset, p=partition: len(warehouse.provenance(a, p)[0]), 64)  # type: ignore[misc]


def test_an_evaluation_has_the_numbers_that_it_had(old: Home) -> None:
    def errors() -> dict[str, float]:
        rows = read_evaluation(old, PAIR)
        return {str(row.method): round(float(row.rmse), 4) for row in rows.itertuples()}

    file = Warehouse(old.warehouse).file("cold_start_evaluation", PAIR)
    read_or_refused(file, lambda: {name: errors()[name] for name in EVALUATED}, EVALUATED)


def test_models_are_read_or_refused_by_name(old: Home) -> None:
    for asset in MODELS:
        folder = old.models / asset
        read_or_refused(folder / f"{PAIR}.json", lambda f=folder: read_whole(f, PAIR), None)  # type: ignore[misc]
        read_or_refused(folder / f"{PAIR}.json", lambda f=folder: read_manifest(f, PAIR)["pair"], PAIR)  # type: ignore[misc]


def test_a_bundle_recommends_what_it_recommended(old: Home) -> None:
    for kind in (CANDIDATE, CHAMPION, DEPLOYED):
        file = bundle_file(old, kind, PAIR)
        read_or_refused(file, lambda f=file: Bundle.load(f).pair, PAIR)  # type: ignore[misc]
    read_or_refused(old.root, lambda: [item.item_id for item in recommend(old, PAIR, "user000", k=3)], RECOMMENDED)
