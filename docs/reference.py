"""Reference pages, made from the code whenever the site is built: they cannot say what the program does not do."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.core import TyperArgument, TyperOption

from ptupcdr_core.catalog import FORMATS, Columns, Domain
from ptupcdr_core.settings import Settings
from ptupcdr_dagster.cli import app

HERE = Path(__file__).parent
HIDDEN = {"name", "folder"}
"""Fields of a domain that no catalog writes as a key."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; called by mkdocs."""
    pages = {"commands": commands(), "settings": settings(), "catalog": catalog(), "tables": tables()}
    for name, lines in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(lines) + "\n"))
    return files


def commands() -> Iterator[str]:
    """Every command with its arguments and options; those that are settings have a page of their own."""
    yield from (
        "# Commands",
        "",
        "`ptupcdr --help` and `ptupcdr COMMAND --help` say the same. Exit codes: 0 success, 1 a",
    )
    yield from ("failed run or a fault that the message names, 2 bad usage, 130 interrupted.", "")
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        arguments = [p for p in command.params if isinstance(p, TyperArgument)]
        usage = " ".join([f"ptupcdr {name}", "[OPTIONS]", *(str(a.metavar or a.name) for a in arguments)])
        yield from (
            f"## {name}",
            "",
            f"`{usage}`",
            "",
            _flat(command.help),
            "",
            "| option | default | |",
            "| --- | --- | --- |",
        )
        own = [p for p in command.params if isinstance(p, TyperOption) and p.rich_help_panel != "Settings"]
        for option in own:
            flags = ", ".join(f"`{flag}`" for flag in option.opts)
            yield f"| {flags} | {_default(option.default)} | {_flat(option.help)} |"
        if len(own) < len([p for p in command.params if isinstance(p, TyperOption)]):
            yield "| one for each [setting](settings.md) | | |"
        yield ""


def settings() -> Iterator[str]:
    """Every setting, with what it decides."""
    yield from (
        "# Settings",
        "",
        "One set for all stages of a run: options of `backfill`, `benchmark` and `tune`, lines of a",
    )
    yield from (
        "`--settings-file`, and run configuration in the Dagster UI. What a setting decides says what is made",
        "again when it changes.",
        "",
    )
    yield from ("| setting | default | decides | |", "| --- | --- | --- | --- |")
    for name, field in Settings.model_fields.items():
        decides = ", ".join(Settings._decides(name).parts)
        yield f"| `{name}` | {_default(field.default)} | {decides} | {_flat(field.description)} |"


def catalog() -> Iterator[str]:
    """Every key of a catalog."""
    yield from (
        "# Catalog",
        "",
        "A TOML file, named by `PTUPCDR_CATALOG`: a table `[domains.NAME]` each, and a `[[pairs]]` each with `source`",
    )
    yield from (
        "and `target`. A key that is not here is refused.",
        "",
        "| key of a domain | default | |",
        "| --- | --- | --- |",
    )
    for name, field in Domain.model_fields.items():
        if name not in HIDDEN:
            default = (
                "required" if field.is_required() else "see below" if name == "columns" else _default(field.default)
            )
            yield f"| `{name}` | {default} | {_flat(field.description)} |"
    yield from (
        "",
        f"Formats: {', '.join(f'`{name}`' for name in FORMATS)}, and those that installed packages add.",
        "",
    )
    yield from ("| key of `columns` | default |", "| --- | --- |")
    for name, field in Columns.model_fields.items():
        yield f"| `{name}` | {_default(field.default)} |"


def tables() -> Iterator[str]:
    """Every table that people query, with its columns and their units."""
    yield from (
        "# Tables",
        "",
        "Views of `warehouse/ptupcdr.duckdb` in the home, over all domains or pairs. Errors are in stars.",
        "",
    )
    for name, table in tomllib.loads((HERE / "tables.toml").read_text()).items():
        yield from (f"## {name}", "", table.pop("about"), "", "| column | |", "| --- | --- |")
        yield from (f"| `{column}` | {meaning} |" for column, meaning in table.items())
        yield ""


def _flat(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _default(value: object) -> str:
    empty = value is None or value is False or value == [] or callable(value)
    return "" if empty else f"`{value}`"
