"""Reference pages, made from the code whenever the site is built, so that they always agree with the program.

The page of commands and settings is a file, ``options.md``.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ptupcdr_core.catalog import FORMATS, Columns, Domain
from ptupcdr_core.store.catalog_file import NOT_KEYS

HERE = Path(__file__).parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; called by mkdocs."""
    pages = {"catalog": catalog(), "tables": tables()}
    for name, lines in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(lines) + "\n"))
    return files


def catalog() -> Iterator[str]:
    """Every key of a catalog."""
    yield from (
        "# Catalog",
        "",
        "A TOML file, named by `PTUPCDR_CATALOG`: a table `[domains.NAME]` per domain, and a `[[pairs]]` per pair with",
    )
    yield from (
        "`source` and `target`. Other keys are refused.",
        "",
        "| key of a domain | default | |",
        "| --- | --- | --- |",
    )
    for name, field in Domain.model_fields.items():
        if name not in NOT_KEYS:
            default = (
                "required" if field.is_required() else "see below" if name == "columns" else _default(field.default)
            )
            yield f"| `{name}` | {default} | {_flat(field.description)} |"
    yield from (
        "",
        f"Formats: {', '.join(f'`{name}`' for name in FORMATS)}, and those that other installed packages add.",
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
