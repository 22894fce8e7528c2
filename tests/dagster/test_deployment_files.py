"""What is under deploy/ agrees: with itself, with the package, and with the variables that the program reads."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def documents(name: str) -> list[Any]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.fixture(scope="module")
def compose() -> Any:
    return documents("compose.yaml")[0]["services"]


@pytest.fixture(scope="module")
def values() -> Any:
    """For Dagster's chart."""
    return documents("kubernetes/values.yaml")[0]


@pytest.fixture(scope="module")
def manifests() -> dict[tuple[str, str], Any]:
    """All that the chart has not, by kind and name."""
    return {(made["kind"], made["metadata"]["name"]): made for made in documents("kubernetes/ptupcdr.yaml")}


def container(manifests: dict[tuple[str, str], Any], name: str) -> Any:
    [one] = manifests["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return one


def values_of(found: Any, key: str) -> Iterator[Any]:
    """All values of a key, however deep."""
    for name, inner in (
        found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    ):
        if name == key:
            yield inner
        yield from values_of(inner, key)


def test_the_image_is_made_of_what_is_there() -> None:
    docker = (DEPLOY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", docker, re.MULTILINE)
    names = [name for source in copied for name in source.split()]
    assert [name for name in names if not (ROOT / name).exists()] == []
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packages["packages"]) <= set(names), "the image has all of the program"
    for chosen in re.findall(r"EXTRAS=(\S+)", docker):
        assert set(chosen.split(",")) <= set(EXTRAS)


def test_the_compose_file_names_what_is_there() -> None:
    for file in re.findall(r"(?:dockerfile: |- \./)(deploy/)?([\w.-]+)", (DEPLOY / "compose.yaml").read_text()):
        assert (DEPLOY / file[1]).is_file()


def test_every_variable_of_ours_is_one_that_the_program_reads(manifests: dict[tuple[str, str], Any]) -> None:
    sources = [file.read_text() for folder in ROOT.glob("ptupcdr_*") for file in folder.rglob("*.py")]
    for name in manifests["ConfigMap", "ptupcdr-environment"]["data"]:
        if name.startswith("PTUPCDR_"):
            assert any(f'"{name}"' in source for source in sources), name


def test_services_are_started_as_by_compose(compose: Any, values: Any, manifests: dict[tuple[str, str], Any]) -> None:
    [deployment] = values["dagster-user-deployments"]["deployments"]
    command = ["dagster", "code-server", "start", "--host=0.0.0.0", f"--port={deployment['port']}"]
    assert [*command, *deployment["codeServerArgs"]] == compose["code"]["command"]
    [server] = [entry["grpc_server"] for entry in documents("workspace.yaml")[0]["load_from"]]
    assert deployment["name"] == server["location_name"], "schedules are known by the location's name"
    elsewhere = ("--backend-store-uri", "--artifacts-destination")
    tracking = [part for part in compose["mlflow"]["command"] if not part.startswith(elsewhere)]
    assert [part for part in container(manifests, "mlflow")["command"] if not part.startswith(elsewhere)] == tracking
    served, pair = container(manifests, "recommendations")["command"], compose["service"]["command"][2]
    assert [*served[:2], pair, *served[3:]] == compose["service"]["command"]


def test_one_image_and_one_chart_of_the_pinned_release(values: Any, manifests: dict[tuple[str, str], Any]) -> None:
    image = values["dagsterWebserver"]["image"]
    used = {f"{image['repository']}:{image['tag']}", *values_of([*manifests.values()], "image")}
    spark = manifests["ConfigMap", "ptupcdr-spark"]["data"]
    used |= {*values_of(yaml.safe_load(spark["executor.yaml"]), "image")}
    used |= set(re.findall(r"^spark\.kubernetes\.container\.image (\S+)$", spark["spark-defaults.conf"], re.MULTILINE))
    assert len(used) == 1
    pinned = re.search(r"^dagster==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"--version {pinned[1]} " in (DEPLOY / "kubernetes" / "values.yaml").read_text()


def test_what_is_mounted_and_read_exists(values: Any, manifests: dict[tuple[str, str], Any]) -> None:
    """In the manifests, or made by a command at their top."""
    text = (DEPLOY / "kubernetes" / "ptupcdr.yaml").read_text()
    made = {name for _, name in manifests} | {*re.findall(r"create (?:configmap|secret generic) (\S+)", text)}
    template = yaml.safe_load(manifests["ConfigMap", "ptupcdr-spark"]["data"]["executor.yaml"])
    found = [values, *manifests.values(), template]
    for kind in ("configMap", "configMapRef", "secretRef"):
        assert {entry["name"] for entry in values_of(found, kind)} <= made
    assert {claim["claimName"] for claim in values_of(found, "persistentVolumeClaim")} <= made
    for kind in ("envConfigMaps", "envSecrets"):
        assert {entry["name"] for listed in values_of(found, kind) for entry in listed} <= made
    assert values["global"]["serviceAccountName"] in made
    assert "dagster-postgresql-secret" in made, "the chart's own name for it"
