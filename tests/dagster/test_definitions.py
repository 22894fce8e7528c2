"""The lineage as a whole: nothing of it changes unnoticed."""

import json
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
import yaml

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BENCHMARK_PAIR, BRIDGE_PAIR, INGEST_DOMAIN
from ptupcdr_dagster.partitions import DOMAIN_TO_PAIRS, DOMAINS, PAIRS
from ptupcdr_dagster.running.executors import chosen_executor

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("lineage.json")


def lineage() -> dict[str, dict[str, object]]:
    graph = defs.resolve_asset_graph()
    described: dict[str, dict[str, object]] = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.partitions_def is not None
        described[key.to_user_string()] = {
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "partitions": node.partitions_def.get_partition_keys(),
            "group": node.group_name,
            "code_version": node.code_version,
            "kinds": sorted(node.kinds),
            "checks": {
                k.name: "blocks" if graph.get_check_spec(k).blocking else "warns" for k in sorted(node.check_keys)
            },
        }
    return dict(sorted(described.items()))


def test_every_assets_spec_is_as_recorded() -> None:
    """After a wanted change: ``python tests/dagster/test_definitions.py``, and look at the difference."""
    assert lineage() == json.loads(SNAPSHOT.read_text())


def test_every_asset_says_what_it_is_and_has_a_code_version() -> None:
    for asset in defs.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        assert asset.descriptions_by_key[asset.key]
        assert asset.code_versions_by_key[asset.key]


def test_the_readme_draws_the_lineage() -> None:
    """It leaves out arrows to what other arrows reach, too."""
    chart = (ROOT / "README.md").read_text().partition("```mermaid\n")[2].partition("```")[0]
    chains = [re.sub(r"\[.*?\]", "", line).split(" --> ") for line in chart.splitlines()[1:]]
    drawn = {(a.strip(), b.strip()) for chain in chains for a, b in pairwise(chain)}
    graph = defs.resolve_asset_graph()
    parents = {key: graph.get(key).parent_keys for key in graph.get_all_asset_keys()}
    assert drawn == {
        (parent.to_user_string(), key.to_user_string())
        for key, direct in parents.items()
        for parent in direct
        if not any(parent in graph.get_ancestor_asset_keys(other) for other in direct)
    }


def test_a_domain_asks_for_exactly_its_pairs() -> None:
    books = DOMAINS.subset_with_partition_keys(["books"])
    pairs = DOMAIN_TO_PAIRS.get_downstream_partitions_for_partitions(books, DOMAINS, PAIRS)
    assert set(pairs.get_partition_keys()) == {"books__movies", "books__music"}


def test_jobs_hold_all_assets() -> None:
    ingested = defs.resolve_job_def(INGEST_DOMAIN).asset_layer.selected_asset_keys
    bridged = defs.resolve_job_def(BRIDGE_PAIR).asset_layer.selected_asset_keys
    measured = defs.resolve_job_def(BENCHMARK_PAIR).asset_layer.selected_asset_keys
    assert ingested == {dg.AssetKey("raw_ratings")}
    assert ingested | bridged | measured == {dg.AssetKey(name) for name in lineage()}


def test_workspace_and_project_files_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    [entry] = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    module = entry["python_module"]
    dagster, dg_project = project["dagster"], project["dg"]["project"]
    assert module["module_name"] == dagster["module_name"] == dg_project["code_location_target_module"]
    assert module["location_name"] == dagster["code_location_name"] == dg_project["code_location_name"]
    assert module["working_directory"] == "."


def test_definitions_validate() -> None:
    command = [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-w", "workspace.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_definitions_load_without_heavy_imports() -> None:
    heavy = ("torch", "mlflow", "great_expectations", "numba", "pandas", "matplotlib")
    code = f"import sys, ptupcdr_dagster.definitions; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("value", "expected"), [("", "in_process"), ("in_process", "in_process"), ("multiprocess", "multiprocess")]
)
def test_the_environment_chooses_the_executor(value: str, expected: str) -> None:
    assert chosen_executor({"PTUPCDR_EXECUTOR": value}).name == expected


def test_an_unknown_executor_is_refused() -> None:
    with pytest.raises(PtupcdrError, match="PTUPCDR_EXECUTOR=threads: expected in_process or multiprocess"):
        chosen_executor({"PTUPCDR_EXECUTOR": "threads"})


if __name__ == "__main__":
    import conftest  # noqa: F401

    SNAPSHOT.write_text(json.dumps(lineage(), indent=2) + "\n")
