"""The documentation site is built strictly: every page, link, anchor and picture is there; the tutorial runs."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from local_servers import free_port

from ptupcdr_core.catalog import Domain
from ptupcdr_core.store.catalog_file import NOT_KEYS

ROOT = Path(__file__).parents[2]
DOUBAN = ROOT.parent / "shared" / "data" / "douban"
MOST_COMMANDS = 10


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_key_of_a_catalog_has_its_place(site: Path) -> None:
    text = (site / "reference" / "catalog.html").read_text()
    names = {*Domain.model_fields} - {*NOT_KEYS}
    assert {name for name in names if f"<code>{name}</code>" not in text} == set()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert [address for address in found if not address.startswith("http://localhost")] == [], page


def test_the_tutorial_needs_no_more_than_ten_commands() -> None:
    assert len(commands()) <= MOST_COMMANDS


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not DOUBAN.is_dir(), reason=f"{DOUBAN} is not there: the tutorial was not run")
def test_the_tutorial_ends_with_a_recommendation(tmp_path: Path) -> None:
    """On the ratings of every tenth person; on all of them with PTUPCDR_TUTORIAL=whole."""
    checkout = tmp_path / "ptupcdr-dagster"
    checkout.mkdir()
    data = tmp_path / "shared" / "data" / "douban"
    data.mkdir(parents=True)
    for file in ("book.csv.gz", "music.csv.gz"):
        head, *rows = gzip.decompress((DOUBAN / file).read_bytes()).splitlines(keepends=True)
        kept = [
            row for row in rows if os.environ.get("PTUPCDR_TUTORIAL") == "whole" or int(row.split(b",")[0]) % 10 == 0
        ]
        (data / file).write_bytes(gzip.compress(b"".join([head, *kept])))
    (checkout / ".venv").symlink_to(Path(sys.executable).parents[1])
    port = str(free_port())
    lines = [line.replace("8000", port) for line in commands() if not line.startswith(("git clone", "make install"))]
    program = "\n".join(["set -e", *lines, "kill %1", "wait || true"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", program], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = done.stdout.splitlines()[-1]
    assert '"status":"given"' in answer
    assert answer.count('"rank":') == 3


def commands() -> list[str]:
    """The commands of the tutorial's console blocks, in order; lines that begin with > belong to the one before."""
    found: list[str] = []
    for block in re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            elif line.startswith("> "):
                found[-1] += f"\n{line[2:]}"
    return found
