"""Command-line options for the settings, made from the settings' own fields."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ptupcdr_core.settings import Settings


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option a setting; the command takes them together as its first argument ``settings``."""

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in Settings.model_fields}
        command(_validated(given), **arguments)

    own = [p for name, p in inspect.signature(command).parameters.items() if name != "settings"]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[
                field.annotation,
                typer.Option(f"--{name.replace('_', '-')}", help=field.description, rich_help_panel="Settings"),
            ],
        )
        for name, field in Settings.model_fields.items()
    ]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def _validated(given: dict[str, Any]) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = [f"--{str(e['loc'][0]).replace('_', '-')} {e['input']}: {e['msg']}" for e in error.errors()]
        raise typer.BadParameter("; ".join(faults)) from error
