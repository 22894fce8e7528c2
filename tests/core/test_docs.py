"""Python and SQL blocks of the documents run on a small pair, and so do the examples of docstrings.

A block that is not run says why not in a comment before it: ``<!-- not run: why -->``.
"""

import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from conftest import Lineage

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]  # fmt: skip  # noqa: E501
BLOCK = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>python|sql)\n(?P<text>.*?)```", re.DOTALL)


def blocks(language: str) -> Iterator[pytest.param]:
    for document in DOCUMENTS:
        for number, found in enumerate(BLOCK.finditer(document.read_text())):
            if found["language"] == language and not found["before"].startswith("<!-- not run: "):
                yield pytest.param(found["text"], id=f"{document.name}-{number}")


@pytest.fixture
def place(lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose ``data`` is the small pair's home."""
    (tmp_path / "data").symlink_to(lineage.home.root)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", [*blocks("python")])
def test_python_blocks_run(text: str, place: Path) -> None:
    exec(compile(text, "block", "exec"), {})


@pytest.mark.parametrize("text", [*blocks("sql")])
def test_sql_blocks_run(text: str, place: Path) -> None:
    with duckdb.connect("data/warehouse/ptupcdr.duckdb", read_only=True) as connection:
        for statement in connection.extract_statements(text):
            assert connection.execute(statement).description


def modules_with_examples() -> list[str]:
    files = [path for path in (ROOT / "ptupcdr_core").rglob("*.py") if ">>> " in path.read_text()]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_of_docstrings_run(module: str) -> None:
    failed, tried = doctest.testmod(
        importlib.import_module(module), extraglobs={"torch": importlib.import_module("torch")}
    )
    assert tried
    assert not failed
