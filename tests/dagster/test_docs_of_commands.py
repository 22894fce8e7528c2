"""The commands in the documents exist, and the page of options is made from the options themselves.

As a script it writes that page: ``python tests/dagster/test_docs_of_commands.py``. Every console block says why it is
not run as it stands (test_site.py runs those of the tutorial); here the options of its ``ptupcdr`` commands are parsed.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ptupcdr_core.settings import Settings
from ptupcdr_dagster.cli.commands import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "options.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]  # fmt: skip  # noqa: E501
CONSOLE = re.compile(r"(?P<before>[^\n]*)\n```console\n(?P<text>.*?)```", re.DOTALL)
HEAD = """# Commands and their options

Made from the program by `.venv/bin/python tests/dagster/test_docs_of_commands.py`, and a test fails when they disagree.

## Settings

One set of settings is shared by all stages of a run. `Decides` says whose results change with a setting.

| setting | default | decides | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The page of options."""
    lines = []
    for name, field in Settings.model_fields.items():
        decides = ", ".join(Settings._decides(name).parts)
        lines.append(f"| `--{name.replace('_', '-')}` | `{field.default}` | {decides} | {_cell(field.description)} |")
    for name, command in sorted(commands().items()):
        lines += ["", f"## `ptupcdr {name}`", "", str(command.help).strip(), ""]
        shared = [p for p in command.params if p.name in Settings.model_fields and _panel(p) == "Settings"]
        rows = [_row(p) for p in command.params if p not in shared and p.name != "help"]
        lines += ["| option | default | meaning |", "| --- | --- | --- |", *rows] if rows else []
        if shared:
            these = "all" if len(shared) == len(Settings.model_fields) else ", ".join(f"`{p.opts[0]}`" for p in shared)
            lines += ["", f"And the settings above: {these}."]
    return HEAD + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def commands() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def _panel(parameter: Any) -> str | None:
    return getattr(parameter, "rich_help_panel", None)


def _row(parameter: Any) -> str:
    option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if option else str(parameter.metavar or parameter.name).upper()
    default = parameter.default if option and parameter.default not in (None, False, ...) else ""
    shown = ", ".join(map(str, default)) if isinstance(default, list | tuple) else default
    return f"| `{name}` | {f'`{shown}`' if shown != '' else ''} | {_cell(getattr(parameter, 'help', ''))} |"


def _cell(text: str | None) -> str:
    return " ".join(str(text or "").split()).replace("|", "\\|")


def written() -> Iterator[pytest.param]:
    """Every command of ours in a console block."""
    for document in DOCUMENTS:
        for block in CONSOLE.finditer(document.read_text()):
            for line in block["text"].replace("\\\n", " ").splitlines():
                if line.startswith("$ ptupcdr ") and "…" not in line:
                    yield pytest.param(shlex.split(line[2:], comments=True), id=f"{document.name}: {line[2:60]}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_block_says_why_it_is_not_run(document: Path) -> None:
    blocks = [*CONSOLE.finditer(document.read_text())]
    assert document.read_text().count("```console") == len(blocks)
    assert all(block["before"].startswith("<!-- not run: ") for block in blocks)


def test_the_page_of_options_says_what_the_program_takes() -> None:
    assert PAGE.read_text() == page(), "write it again: python tests/dagster/test_docs_of_commands.py"


@pytest.mark.parametrize("words", [*written()])
def test_a_command_in_the_documents_is_one(words: list[str], catalog_path: Path) -> None:
    command = commands()[words[1]]
    context = command.make_context(words[1], words[2:], resilient_parsing=False)
    assert not context.args


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
