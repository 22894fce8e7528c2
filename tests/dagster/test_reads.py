"""An asset depends on exactly what it reads: it needs nothing but what is upstream of it, and each of its inputs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from conftest import CATALOG_PATH, PAIR

from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BRIDGE_PAIR
from ptupcdr_dagster.resources import run_config
from ptupcdr_dagster.running.planning import lineage

# Fitted again, the deployed model reads the ratings too.
SETTINGS = Settings(epochs=2, embedding_size=4, refit=True)
GRAPH = defs.resolve_asset_graph()
ASSETS = ["raw_ratings", *lineage(BRIDGE_PAIR)]

OPTIONAL = {
    ("pair_report", "warm_start_evaluation"),
    ("pair_report", "champion"),
    ("pair_report", "recommendations"),
    ("recommendations", "deployed_model"),
}
"""Read where it stands: without it the page is shorter, and nobody is recommended anything."""

Made = dict[str, set[Path]]
"""The files that each asset made, from the home on."""


def upstream(asset: str) -> set[str]:
    return {key.to_user_string() for key in GRAPH.get_ancestor_asset_keys(dg.AssetKey(asset))}


def named(asset: str) -> list[str]:
    return sorted(key.to_user_string() for key in GRAPH.get(dg.AssetKey(asset)).parent_keys)


def stored(home: Home) -> dict[Path, int]:
    """The files of assets with when they were written; the catalog of views and its lock are everybody's."""
    folders = [home.root / name for name in ("warehouse", "models", "bundles", "reports")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(home.root): file.stat().st_mtime_ns for file in files if file.parent != home.warehouse}


def make(home: Home, asset: str, partition: str = PAIR) -> bool:
    """Materialize one asset alone, without its checks; whether that went well."""
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("PTUPCDR_HOME", str(home.root))
        patch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))
        return dg.materialize(
            [a for a in defs.assets or [] if isinstance(a, dg.AssetsDefinition)],
            selection=[asset],
            partition_key=partition,
            resources=defs.resources,
            run_config=run_config(SETTINGS),
            instance=instance,
            raise_on_error=False,
        ).success


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Made]:
    """A home in which every asset was made in its turn, and which files each made."""
    home, made = Home(tmp_path_factory.mktemp("whole")), Made()
    for asset in ASSETS:
        before = stored(home)
        for partition in ["books", "movies"] if asset == "raw_ratings" else [PAIR]:
            assert make(home, asset, partition), asset
        made[asset] = {file for file, written in stored(home).items() if before.get(file) != written}
        assert made[asset], asset
    return home, made


@pytest.fixture
def copy(whole: tuple[Home, Made], tmp_path: Path) -> Iterator[Home]:
    yield Home(shutil.copytree(whole[0].root, tmp_path / "copy"))
    shutil.rmtree(tmp_path / "copy")


def hide(home: Home, made: Made, assets: set[str]) -> None:
    for asset in assets:
        for file in made[asset]:
            (home.root / file).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("asset", ASSETS[1:])
def test_an_asset_reads_nothing_but_what_is_upstream(asset: str, whole: tuple[Home, Made], copy: Home) -> None:
    hide(copy, whole[1], set(ASSETS) - upstream(asset))
    assert make(copy, asset)


@pytest.mark.slow
@pytest.mark.parametrize(("asset", "read"), [(asset, read) for asset in ASSETS for read in named(asset)])
def test_an_asset_needs_each_that_it_names(asset: str, read: str, whole: tuple[Home, Made], copy: Home) -> None:
    hide(copy, whole[1], {read})
    assert make(copy, asset) == ((asset, read) in OPTIONAL)
