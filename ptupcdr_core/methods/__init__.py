"""The methods that are compared: each gives every user a vector, and every target item an offset and a vector.

A method is a module of this package with a tuple ``METHODS``, or a package's entry point (see ``extensions``); nothing
else needs to know of it.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from ptupcdr_core.errors import SettingsError
from ptupcdr_core.extensions import added_methods
from ptupcdr_core.settings import Recipe

if TYPE_CHECKING:
    from ptupcdr_core.methods.method import Method


@cache
def all_methods() -> "tuple[Method, ...]":
    """Every method of every recipe, those that need least first."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    methods = [method for module in modules for method in getattr(module, "METHODS", ())] + added_methods()
    return tuple(sorted(methods, key=lambda method: (method.needs.value, method.name)))


def methods_of(recipe: Recipe, names: Sequence[str] | None = None) -> "list[Method]":
    """The methods that a recipe has, all or those named.

    Raises:
        SettingsError: a name is not that of any method; the message lists those there are.
    """
    known = sorted({method.name for method in all_methods()})
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise SettingsError(f"unknown method {', '.join(unknown)}; known: {', '.join(known)}")
    return [method for method in all_methods() if recipe in method.recipes and (names is None or method.name in names)]
