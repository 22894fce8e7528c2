"""Command-line options for the settings, made from the settings' own fields, and options of several values."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from typer.core import TyperCommand

from ptupcdr_core.settings import Settings

VARIED_BY_BENCHMARK = frozenset({"setting", "mode", "base_model", "beta", "seed", "top_k"})
"""Settings that a benchmark sets itself, or does not use."""

Model = TypeVar("Model", bound=BaseModel)


def settings_options(command: Callable[..., None], *, left_out: frozenset[str] = frozenset()) -> Callable[..., None]:
    """Give a command one option a setting; the command takes them together as its first argument ``settings``.

    Args:
        command: The command.
        left_out: Settings that keep their defaults and have no option.
    """
    fields = {name: field for name, field in Settings.model_fields.items() if name not in left_out}

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in fields}
        command(validated(Settings, given), **arguments)

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
        for name, field in fields.items()
    ]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


training_options = functools.partial(settings_options, left_out=VARIED_BY_BENCHMARK)
"""The settings that a benchmark does not vary itself."""


def validated(model: type[Model], given: dict[str, Any]) -> Model:
    """The validated values of options; what is wrong with them is bad usage, told with the option's name.

    Raises:
        typer.BadParameter: some value is not allowed.
    """
    try:
        return model(**given)
    except ValidationError as error:
        faults = [f"--{str(e['loc'][0]).replace('_', '-')} {e['input']}: {e['msg']}" for e in error.errors()]
        faults = [fault for fault in faults if "after validation" not in fault] or faults
        raise typer.BadParameter("; ".join(faults)) from error


class SpreadCommand(TyperCommand):
    """A command whose list options take all the values that follow: ``--betas 0.2 0.5`` as ``--betas 0.2,0.5``.

    Values go on until the next option, or until a pair, which is told by its two underscores: ``--betas 0.2
    books__movies`` works too.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat a list option before each of its further values."""
        lists = {name for p in self.params if getattr(p, "multiple", False) for name in p.opts}
        spread: list[str] = []
        current: str | None = None
        for number, argument in enumerate(args):
            if argument == "--":
                return super().parse_args(ctx, spread + args[number:])
            if argument.startswith("-") or "__" in argument:
                name = argument.partition("=")[0]
                current = name if name in lists else None
                spread.append(argument)
            elif current and spread[-1] != current:
                spread += [current, argument]
            else:
                spread.append(argument)
        return super().parse_args(ctx, spread)


def separated(values: list[str]) -> list[str]:
    """The values of a list option, which may also stand in one with commas between them."""
    return [part for value in values for part in value.replace(",", " ").split()]
