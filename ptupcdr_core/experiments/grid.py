"""The trainings that make up a benchmark, and what they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from ptupcdr_core.errors import SettingsError
from ptupcdr_core.methods import methods_of
from ptupcdr_core.methods.method import Method, Needs
from ptupcdr_core.settings import REFERENCE_RECIPES, BaseModelName, Mode, Recipe, Settings
from ptupcdr_core.versions import RESULTS

ANY_BASE_MODEL = "none"
"""Base model in tables where it makes no difference."""
FAMILIES: tuple[tuple[Recipe, ...], ...] = (REFERENCE_RECIPES, ("calibrated",))
"""Recipes of one family choose their epochs from the same training."""


class Grid(BaseModel):
    """What a benchmark varies; all combinations that make sense are run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    betas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=(0.2, 0.5, 0.8), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(900, 1000, 10, 2020, 500), min_length=1)
    base_models: tuple[BaseModelName, ...] = Field(default=get_args(BaseModelName), min_length=1)
    methods: tuple[str, ...] | None = Field(default=None, min_length=1, description="None: all")
    recipes: tuple[Recipe, ...] = Field(default=get_args(Recipe), min_length=1)
    modes: tuple[Mode, ...] = Field(
        default=get_args(Mode),
        min_length=1,
        description="predicted ratings by the methods, recipes and base models above; ranked lists by all of theirs",
    )


@dataclass(frozen=True)
class Cell:
    """One training, measured under each recipe of a family.

    Args:
        method: what is trained.
        settings: β, seed, base model and sizes; its ``recipe`` is the first of the family.
        family: the recipes that choose their epochs from it.
    """

    tables: ClassVar = ("benchmark", "benchmark_errors", "benchmark_slices")
    method: Method
    settings: Settings
    family: tuple[Recipe, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that it depends on but the ratings."""
        kept = RESULTS["benchmark_cell"]
        return {
            "method": self.method.name,
            "base_model": self.base_model,
            "family": self.family,
            "settings": kept.relevant(self.settings),
            "code": [kept.version, self.method.version],
        }

    @property
    def base_model(self) -> str:
        """The base model's name in tables."""
        return ANY_BASE_MODEL if self.method.needs is Needs.RATINGS else self.settings.base_model


@dataclass(frozen=True)
class ListCell:
    """Ranked lists by all methods at one β and seed, which share one training.

    Args:
        settings: β, seed and sizes.
    """

    tables: ClassVar = ("benchmark_lists", "benchmark_rankings")
    settings: Settings

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that it depends on but the ratings."""
        kept = RESULTS["list_cell"]
        return {"lists": kept.relevant(self.settings), "code": kept.version}


AnyCell = Cell | ListCell


@dataclass(frozen=True)
class Unit:
    """Cells that share a source model: one seed, base model and family. They run one after another, β by β."""

    cells: tuple[AnyCell, ...]

    def by_beta(self) -> Iterator[tuple[Settings, list[AnyCell]]]:
        """The cells of each β, with the settings that they share."""
        for beta in dict.fromkeys(cell.settings.beta for cell in self.cells):
            cells = [cell for cell in self.cells if cell.settings.beta == beta]
            yield cells[0].settings, cells


def units_of(grid: Grid, settings: Settings, *, rated: bool = True) -> list[Unit]:
    """The units of a grid.

    Args:
        grid: what varies.
        settings: everything else: sizes, epochs, learning rate.
        rated: whether both domains have stars; without them there are only lists.

    Raises:
        SettingsError: a method is not known, or nothing is left to run.
    """
    predicted = rated and "rating" in grid.modes
    ratings = list(_rating_units(grid, settings)) if predicted else []
    lists: list[Unit] = []
    if "ranking" in grid.modes and "calibrated" in grid.recipes:
        lists = [
            Unit((ListCell(_with(settings, recipe="calibrated", mode="ranking", beta=beta, seed=seed)),))
            for seed, beta in product(grid.seeds, grid.betas)
        ]
    if not (ratings if predicted else lists):
        raise SettingsError(
            f"nothing to run: no method of {', '.join(grid.methods or ('all',))} is made for the recipes "
            f"{', '.join(grid.recipes)}, base models {', '.join(grid.base_models)} and modes {', '.join(grid.modes)}"
            + ("" if rated else " where a domain has events without stars")
        )
    return ratings + lists


def _rating_units(grid: Grid, settings: Settings) -> Iterator[Unit]:
    for family, seed in product(_wanted(grid.recipes), grid.seeds):
        methods = methods_of(family[0], grid.methods)
        plain = [method for method in methods if method.needs is Needs.RATINGS]
        modelled = [method for method in methods if method.needs is not Needs.RATINGS]
        kinds = [kind for kind in grid.base_models if kind == "mf" or family is REFERENCE_RECIPES]
        layers: list[tuple[BaseModelName, Sequence[Method]]] = [("mf", plain), *((kind, modelled) for kind in kinds)]
        for kind, chosen in layers:
            cells = [
                Cell(method, _with(settings, recipe=family[0], beta=beta, seed=seed, base_model=kind), family)
                for beta in grid.betas
                for method in chosen
            ]
            if cells:
                yield Unit(tuple(cells))


def _wanted(recipes: Sequence[Recipe]) -> Iterator[tuple[Recipe, ...]]:
    return (family for family in FAMILIES if set(family) & set(recipes))


def _with(settings: Settings, **changes: object) -> Settings:
    return Settings(**{**settings.model_dump(), **changes})
