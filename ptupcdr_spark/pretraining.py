"""The stage of a pair's base models past one machine: see ``ptupcdr_core.stages.pretraining``.

Shapes: N ratings, U users, I items.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ptupcdr_core.data.pair_data import SIDES, SPLIT, Outline, Side, load_outline
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.modes.checkpoints import drop_others
from ptupcdr_core.modes.ranking import checkpoints as ranking
from ptupcdr_core.modes.rating import checkpoints as rating
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.modes.shared_source import SharedSource
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.stages.pretraining import pretrain as pretrain_here
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training import calibrated, calibrated_model, implicit
from ptupcdr_core.training.epochs import Curves, OnEpoch
from ptupcdr_core.versions import RESULTS
from ptupcdr_spark.blocks import Side as Ratings
from ptupcdr_spark.blocks import lay_out
from ptupcdr_spark.calibrated import fit_calibrated
from ptupcdr_spark.given import table_given
from ptupcdr_spark.implicit import factorize_taken, source_space
from ptupcdr_spark.least_squares import LeastSquares, Sides
from ptupcdr_spark.steps import Cut, Steps

BLOCK = 1 << 20
"""About how many ratings a block has: one task holds it, and the vectors that it needs."""
BLOCKS = 2_048
"""Blocks, at most, since each sends to every other. How ratings are cut depends on their number alone, not on the
cluster, and so do the last bits of the results."""


def pretrain(
    spark: SparkSession, home: Home, pair: str, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str = ""
) -> StageReport:
    """Train one side's base model in blocks and save its checkpoint, in every mode of the settings.

    Several source domains that act as one are trained on this machine, by ``ptupcdr_core.stages.pretraining``.

    Raises:
        SettingsError: the recipe is not ``calibrated``; or as there.
    """
    if settings.recipe != "calibrated":
        raise SettingsError(
            f'{pair} is on Spark (engine = "spark" in the catalog), where the recipe {settings.recipe} is not trained: '
            "its gradient steps each follow on the one before, so that many machines are no faster than one; use the "
            'recipe calibrated, or engine = "duckdb"'
        )
    outline, sizes = _Sizes.read(Warehouse.from_environment(home.warehouse), pair, side)
    if sizes.domains > 1:
        return pretrain_here(home, pair, side, settings, on_epoch, fingerprint)
    training = _Training(spark, home, outline, side, settings, fingerprint, sizes)
    curves, modes, notes = Curves(on_epoch), modes_of(settings, outline), dict[str, str]()
    files: list[Path] = []
    for mode in modes:
        train = partial(training.saved, mode.name, curves)
        if side == "source":
            files += SharedSource(home, outline, mode, settings, fingerprint).made(train, curves, notes)
        else:
            files += train({})
    training.end()
    drop_others(home, f"{side}_model", pair, [mode.name for mode in modes])
    counts = {"ratings": float(sizes.ratings), "items": float(sizes.items)}
    return StageReport(counts | curves.last(), curves.values, files, notes=notes)


@dataclass(frozen=True)
class _Sizes:
    """Of one side of a split."""

    ratings: int
    users: int
    items: int
    domains: int

    @classmethod
    def read(cls, warehouse: Warehouse, pair: str, side: Side) -> "tuple[Outline, _Sizes]":
        domains = "count(distinct domain)" if side == "source" else "1"
        with warehouse.read(SPLIT, pair) as connection:
            [sizes] = connection.execute(
                f"select (select count(*) from split_{side}_ratings where {TRAINED_ON[side]}), "  # nosec B608 # ours
                f"(select max(user_index) from split_users), max(item_index), {domains} from split_{side}_items"
            ).fetchall()
        return load_outline(warehouse, pair), cls(*sizes)

    @property
    def cuts(self) -> tuple[Cut, Cut]:
        """How users and items are cut."""
        blocks = min(BLOCKS, -(-self.ratings // BLOCK))
        return Cut(self.users, -(-(self.users + 1) // blocks)), Cut(self.items, -(-(self.items + 1) // blocks))


TRAINED_ON: dict[Side, str] = {"source": "true", "target": "part = 'train'"}
"""Which of a side's ratings are trained on."""


@dataclass(frozen=True)
class _Training:
    """One side's base models in the making."""

    spark: SparkSession
    home: Home
    outline: Outline
    side: Side
    settings: Settings
    fingerprint: str
    sizes: _Sizes

    def saved(self, mode: Mode, on_epoch: OnEpoch, entries: dict[str, Any]) -> list[Path]:
        """Train a mode's and save it, with further entries of its manifest."""
        curves = Curves(on_epoch)
        saved = {"rating": self._rating, "ranking": self._ranking}[mode]
        return saved(curves, entries)

    def end(self) -> None:
        """Let go of the ratings, and remove what was written on the way."""
        if "_sides" in self.__dict__:
            self._sides.free(links=True)
        shutil.rmtree(self._folder)

    def _rating(self, curves: Curves, entries: dict[str, Any]) -> list[Path]:
        settings = self.settings
        factors = LeastSquares(
            size=settings.embedding_size,
            regularization=calibrated_model.REGULARIZATION,
            iterations=calibrated.ITERATIONS,
            seed=settings.seed + SIDES.index(self.side),
            unobserved_weight=0.0,
            users_last=self.side == "source",
        )
        tensors = fit_calibrated(self._steps, self._sides, factors, curves)
        return rating.save_side(
            self.home, self.side, self.outline, tensors, settings, self.fingerprint, curves, entries
        )

    def _ranking(self, curves: Curves, entries: dict[str, Any]) -> list[Path]:
        settings = self.settings
        factors = LeastSquares(
            size=settings.ranking_size,
            regularization=implicit.REGULARIZATION,
            iterations=implicit.ITERATIONS,
            seed=settings.seed * 2 + SIDES.index(self.side),
            unobserved_weight=implicit.UNOBSERVED_WEIGHT,
            users_last=self.side == "source",
            ones=True,
        )
        taken = factorize_taken(self._steps, self._sides, factors, curves)
        tensors = taken.tensors
        if self.side == "source":
            timed = self._ratings.withColumn("value", F.col("timestamp").cast("float"))
            users, items = self.sizes.cuts
            by_user = self._laid("by-user-timed", timed, ("user_index", "item_index"), users, items)
            tensors |= source_space(self._steps, by_user, taken.users, factors.size, timed)
            by_user.free(links=True)
        return ranking.save_side_tensors(
            self.home, self.side, self.outline, tensors, settings, self.fingerprint, curves, entries
        )

    @property
    def _steps(self) -> Steps:
        return Steps(self.spark, self._folder)

    @cached_property
    def _sides(self) -> Sides:
        users, items = self.sizes.cuts
        return Sides(
            self._laid("by-user", self._ratings, ("user_index", "item_index"), users, items),
            self._laid("by-item", self._ratings, ("item_index", "user_index"), items, users),
        )

    @cached_property
    def _ratings(self) -> DataFrame:
        warehouse = Warehouse.from_environment(self.home.warehouse)
        rows = table_given(
            self.spark, warehouse, SPLIT, self.outline.pair, f"split_{self.side}_ratings", self._folder / "lent"
        )
        value = F.coalesce(F.col("rating").cast("float"), F.lit(float("nan"))).alias("value")
        return rows.where(TRAINED_ON[self.side]).select("user_index", "item_index", value, "timestamp")

    def _laid(self, name: str, ratings: DataFrame, by: tuple[str, str], rows: Cut, columns: Cut) -> Ratings:
        place = self._folder / name
        if not (place / "_SUCCESS").is_file():
            lay_out(ratings, *by, rows, columns).write.mode("overwrite").parquet(str(place))
        return Ratings.of(self.spark.read.parquet(str(place)), rows, columns)

    @cached_property
    def _folder(self) -> Path:
        """The folder of this training; those of the same side with other settings or another split are removed."""
        result = RESULTS[f"{self.side}_model"]
        made_of = [self.outline.split, result.version, BLOCK, BLOCKS, result.relevant(self.settings)]
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
        folder = self.home.least_squares / self.outline.pair / f"{self.side}-{digest[:16]}"
        for other in folder.parent.glob(f"{self.side}-*"):
            if other != folder:
                shutil.rmtree(other)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
