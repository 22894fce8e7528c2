"""Command-line options for the settings, made from the settings' own fields, and options with several values."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from pydantic import BaseModel, ValidationError
from typer.core import TyperCommand

from ptupcdr_core.errors import SettingsError
from ptupcdr_core.settings import Part, Settings
from ptupcdr_core.store.settings_file import read_settings_file

SETTINGS_FILE, CONTEXT = "settings_file", "context"

Model = TypeVar("Model", bound=BaseModel)


def settings_options(
    command: Callable[..., None],
    *,
    parts: Sequence[Part] = get_args(Part),
    left_out: Collection[str] = (),
    from_file: bool = False,
) -> Callable[..., None]:
    """Give a command one option for each setting; it receives them together as its first argument ``settings``.

    Args:
        command: The command.
        parts: Only settings that decide one of these get an option; others keep their defaults.
        left_out: Further settings without an option.
        from_file: Offer ``--settings-file`` too; an option on the command line wins over the file.
    """
    names = [name for name in Settings.names_that_decide(*parts) if name not in left_out]
    fields = {name: Settings.model_fields[name] for name in names}

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in fields}
        file, context = arguments.pop(SETTINGS_FILE, None), arguments.pop(CONTEXT, None)
        command(_settings(given, file, context) if file else validated(Settings, given), **arguments)

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
    if from_file:
        parameters += _file_parameters()
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def _file_parameters() -> list[inspect.Parameter]:
    option = typer.Option(
        "--settings-file",
        metavar="FILE",
        help="TOML file of settings, such as `ptupcdr tune` writes; options given here win over it.",
        rich_help_panel="Settings",
    )
    named, required = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    return [
        inspect.Parameter(SETTINGS_FILE, named, default=None, annotation=Annotated[Path | None, option]),
        inspect.Parameter(CONTEXT, named, default=required, annotation=typer.Context),
    ]


def _settings(given: Mapping[str, Any], file: Path, context: typer.Context) -> Settings:
    """The file's settings, overridden by the options on the command line."""
    explicit = {name: value for name, value in given.items() if _stands_there(context, name)}
    try:
        in_file = read_settings_file(file)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    return validated(Settings, in_file | explicit, {name: f"{file}: {name} =" for name in in_file.keys() - explicit})


def _stands_there(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def validated(model: type[Model], given: dict[str, Any], places: Mapping[str, str] | None = None) -> Model:
    """The validated values of options; a wrong value is bad usage, reported with the option's name.

    Args:
        model: The options' model.
        given: Their values by field.
        places: What to call values that come from elsewhere than the command line.

    Raises:
        typer.BadParameter: some value is not allowed.
    """
    try:
        return model(**given)
    except ValidationError as error:
        named = {name: f"--{name.replace('_', '-')}" for name in given} | dict(places or {})
        faults = [f"{named[str(e['loc'][0])]} {e['input']}: {e['msg']}" for e in error.errors()]
        faults = [fault for fault in faults if "after validation" not in fault] or faults
        raise typer.BadParameter("; ".join(faults)) from error


class SpreadCommand(TyperCommand):
    """A command whose list options take all the values that follow: ``--betas 0.2 0.5`` as well as ``--betas 0.2,0.5``.

    The values end at the next option, or at a pair, which is recognized by its two underscores: ``--betas 0.2
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
    """The values of a list option, each of which may be several, separated by commas."""
    return [part for value in values for part in value.replace(",", " ").split()]
