"""What a method is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.settings import REFERENCE_RECIPES, Recipe
from ptupcdr_core.training.epochs import Epoch

if TYPE_CHECKING:
    from ptupcdr_core.methods.experiment import Experiment


class Needs(IntEnum):
    """What a method is made from, least first."""

    RATINGS = 0
    """The ratings alone: the base model makes no difference."""
    BASE_MODEL = 1
    """A base model that it trains itself."""
    BRIDGE = 2
    """The trained base models of both domains."""


@dataclass(frozen=True)
class Method:
    """A way to score a pair's target items for users of its source.

    Args:
        name: the method's name in tables.
        fit: trains on an experiment's data and yields a candidate per epoch; without epochs, only epoch 0.
        needs: what it is made from.
        recipes: those it is for; another ``Method`` of the same name may fit it differently in other recipes.
        version: raised when it gives other results, so that a benchmark makes its cells again.
    """

    name: str
    fit: "Callable[[Experiment], Iterator[Epoch[FittedMethod]]]"
    needs: Needs = Needs.BRIDGE
    recipes: tuple[Recipe, ...] = REFERENCE_RECIPES
    version: int = 1
