"""Predicted ratings as a mode."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData, Side, load_pair, user_ids
from ptupcdr_core.engines.choice import choose_engine
from ptupcdr_core.evaluation.calibration import Calibrator
from ptupcdr_core.evaluation.cold_start import evaluate, evaluate_reliability, evaluate_slices, score
from ptupcdr_core.evaluation.significance import pair_errors
from ptupcdr_core.methods.simple import METHODS, simple_baselines
from ptupcdr_core.models.base import BaseModel
from ptupcdr_core.models.bridges import PersonalBridge, SourceSide
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.ordinal import OrdinalCalibration
from ptupcdr_core.models.rating_errors import rating_errors
from ptupcdr_core.modes.base import Evaluation, Trained
from ptupcdr_core.modes.criterion import Criterion, Measured
from ptupcdr_core.modes.part import KnownUsers, Part
from ptupcdr_core.modes.rating.checkpoints import (
    load_bridge_task,
    load_bridges,
    load_calibration,
    load_sides,
    load_task_and_bridges,
    save_bridges,
    save_side,
)
from ptupcdr_core.modes.rating.warm_start import FineTuning
from ptupcdr_core.modes.stars import StarDistribution
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.bridging import Bridges, refit_bridges, train_bridges
from ptupcdr_core.training.calibrated_model import CalibratedModel, SourceCoordinates
from ptupcdr_core.training.epochs import Curves, OnEpoch
from ptupcdr_core.training.folding import CalibratedSpace, ReferenceSpace, SourceSpace
from ptupcdr_core.training.pretraining import train_side
from ptupcdr_core.training.ridge import users_read
from ptupcdr_core.training.task import Model, bridge_task


def _errors(model: Measured, ratings: pd.DataFrame) -> pd.DataFrame:
    errors = model.scores(ratings).astype(np.float64) - ratings["rating"]
    columns = {"ratings": 1, "absolute_error": np.abs(errors), "squared_error": errors**2}
    return ratings[["user_id"]].assign(**columns).groupby("user_id", as_index=False).sum()


class Rating:
    """Predicted ratings, better with a lower RMSE; see ``modes.base.Mode``."""

    name: Mode = "rating"
    needs_stars = True
    columns = ("mae", "rmse", "mae_of_mean", "log_loss")
    warm_start = FineTuning()
    criterion = Criterion(
        what="predicted ratings",
        metric="rmse",
        label="RMSE",
        more_is_better=False,
        # Two fifths of what the default gains over the strongest baseline on real pairs (0.51 %).
        tolerance=0.002,
        baselines=tuple(method.name for method in METHODS),
        table="cold_start_errors",
        columns=("absolute_error", "squared_error"),
        measure=_errors,
        pair=pair_errors,
    )

    def train_side(
        self,
        home: Home,
        data: PairData,
        side: Side,
        settings: Settings,
        on_epoch: OnEpoch,
        fingerprint: str,
        entries: Mapping[str, Any] | None = None,
    ) -> list[Path]:
        """Train one side's base model."""
        curves = Curves(on_epoch)
        model = train_side(data, side, settings, curves, choose_engine())
        return save_side(home, side, data, model.tensors(), settings, fingerprint, curves, entries or {})

    def train(self, home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch, fingerprint: str) -> Trained:
        """Train the personal bridge and the common ones beside it."""
        engine, sides, curves = choose_engine(), load_sides(home, data), Curves(on_epoch)
        task = bridge_task(data, sides.source, sides.target)
        bridges = train_bridges(task, settings, curves, engine)
        methods = {method.name: method for method in bridges.methods(task)}
        calibration = Calibrator.of(data).fit(methods["ptupcdr"].score(data.target_validation))
        files = save_bridges(home, data, bridges, calibration, sides.checksums, settings, fingerprint, curves)
        errors = _validation_errors(data, [*methods.values()], settings)
        metrics = {f"validation_rmse_{row.method}": float(row.rmse) for row in errors.itertuples()}
        part = _part(data, sides.source, sides.target, bridges, calibration)
        if isinstance(sides.source, CalibratedModel):
            metrics["closed_form_users"] = float(users_read(task.rows))
        else:
            part = replace(part, known=_known(home, data, sides.source))
        return Trained(part, {**bridges.chosen, **metrics}, files, {"validation": errors}, set(bridges.chosen))

    def bridge(self, home: Home, data: PairData) -> tuple[SourceSide, PersonalBridge]:
        """The personal bridge and what it reads."""
        task, bridges = load_task_and_bridges(home, data)
        return task, bridges.personal

    def target_users(self, home: Home, data: PairData) -> Floats:
        """(U+1, Y) the target model's own users."""
        return load_bridge_task(home, data).target_user_vectors

    def evaluate(self, home: Home, data: PairData, settings: Settings, ids: NDArray[np.object_]) -> Evaluation:
        """MAE and RMSE of every method and baseline, in total, by user, and by slices of users and items."""
        task, bridges = load_task_and_bridges(home, data)
        tgt = FittedMethod("tgt", task.target, lambda users: task.target_user_vectors[users])
        methods = [*simple_baselines(data), tgt, *bridges.methods(task)]
        scored = score(data, methods, settings)
        summary, details = evaluate(data, scored, settings, ids)
        slices = evaluate_slices(data, scored, settings)
        tables = {"cold_start_errors": details, "cold_start_slices": slices}
        if settings.clipped:
            tables["cold_start_reliability"] = evaluate_reliability(data, scored, settings)
        best_first = summary.sort_values("rmse")[["method", "users", "ratings", *self.columns]].round(4)
        return Evaluation(
            summary,
            tables,
            {f"{name}_{row.method}": getattr(row, name) for row in summary.itertuples() for name in ("mae", "rmse")},
            {"evaluation": best_first, "mae_by_slice": _mae_by_slice(slices, best_first["method"])},
        )

    def refit(self, home: Home, data: PairData, settings: Settings, on_epoch: OnEpoch) -> Part:
        """Fit target model and bridges again to a split that holds nobody out."""
        engine, sides = choose_engine(), load_sides(home, data)
        chosen = load_bridges(home, data, sides.checksums).chosen
        calibration = load_calibration(home, data, sides.checksums)
        target = train_side(data, "target", settings, on_epoch, engine)
        task = bridge_task(data, sides.source, target)
        bridges = refit_bridges(task, settings, chosen, on_epoch, engine)
        return _part(data, sides.source, target, bridges, calibration)


def source_space(source: Model) -> SourceSpace:
    """The space of a trained source model, a calibrated one or one of the reference's recipes."""
    if isinstance(source, CalibratedModel):
        return CalibratedSpace(source, SourceCoordinates.of(source))
    assert isinstance(source, BaseModel)
    return ReferenceSpace(source)


def _part(data: PairData, source: Model, target: Model, bridges: Bridges, calibration: OrdinalCalibration) -> Part:
    spread = target.item_spread if isinstance(target, CalibratedModel) else None
    trained = np.sort(np.concatenate([data.cohorts["bridge"], data.cohorts["target_only"]]))
    return Part(
        source=source_space(source),
        personal=bridges.personal,
        target=target.target_items(),
        mean=target.target_users()[trained].mean(0, dtype=np.float64).astype(np.float32),
        scale=data.scale,
        stars=None if spread is None else StarDistribution(calibration, spread, data.scale),
    )


def _known(home: Home, data: PairData, source: Model) -> KnownUsers:
    """The cold-start users' trained vectors of a source model for which folding in gives other ones."""
    warehouse = Warehouse.from_environment(home.warehouse)
    if data.people is not None:
        data = load_pair(warehouse, data.pair, everybody=True)
        source = load_sides(home, data).source
    ids, users = user_ids(warehouse, data), data.cold_users
    return KnownUsers(pa.array(ids[users], pa.string()), source.source_vectors()[users])


def _validation_errors(data: PairData, methods: list[FittedMethod], settings: Settings) -> pd.DataFrame:
    """Errors of the methods' predictions, not yet calibrated, for the validation users."""
    validation, scale = data.target_validation, data.scale if settings.clipped else None
    errors = {method.name: rating_errors(method.score(validation), validation, scale) for method in methods}
    rows = [(name, len(e.users), len(validation), e.mae, e.rmse) for name, e in errors.items()]
    return pd.DataFrame(rows, columns=["method", "users", "ratings", "mae", "rmse"])


def _mae_by_slice(slices: pd.DataFrame, methods: Iterable[str]) -> pd.DataFrame:
    """One row a bucket, one column a method, in the given order."""
    bucket = ["slice", "at_least", "at_most", "users", "ratings"]
    wide = slices.pivot(index=bucket, columns="method", values="mae")
    return wide[[*methods]].round(4).reset_index()
