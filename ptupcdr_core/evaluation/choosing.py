"""What a recipe makes of the epochs of a training: several recipes look on while a method is trained once."""

from dataclasses import dataclass

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.rating_errors import RatingErrors, rating_errors
from ptupcdr_core.settings import Recipe, Settings
from ptupcdr_core.training.epochs import BestEpoch, Epoch


@dataclass(frozen=True)
class Outcome:
    """A method's errors on the test users under one recipe.

    Args:
        mae_epoch: the epoch that the absolute errors are of.
        rmse_epoch: the epoch that the squared errors are of; another one only under ``published_test_best``.
        mae_scores: (N,) predicted stars of every test rating at ``mae_epoch``, clipped if the recipe clips.
        rmse_scores: (N,) the same at ``rmse_epoch``.
        errors: by user.
    """

    mae_epoch: int
    rmse_epoch: int
    mae_scores: Floats
    rmse_scores: Floats
    errors: RatingErrors


class Chooser:
    """Keeps what a recipe wants of a training.

    Args:
        data: the pair's split.
        settings: ``recipe`` decides between validation and test users, and about clipping.
    """

    def __init__(self, data: PairData, settings: Settings) -> None:
        """Start without an epoch."""
        self.data, self.clipped = data, settings.clipped
        self.on_test = settings.recipe == "published_test_best"
        self.mae: BestEpoch[Floats] = BestEpoch()
        self.rmse: BestEpoch[Floats] = BestEpoch()

    def offer(self, number: int, validation: RatingErrors, scores: Floats) -> None:
        """Look at an epoch.

        Args:
            number: of the epoch.
            validation: the errors on the validation users, clipped.
            scores: (N,) predicted stars of every test rating, not clipped.
        """
        if self.on_test:
            test = rating_errors(scores, self.data.target_test, None)
            self.mae.offer(number, test.mae, scores)
            self.rmse.offer(number, test.rmse, scores)
        else:
            self.mae.offer(number, validation.rmse, scores)
            self.rmse.offer(number, validation.rmse, scores)

    def outcome(self) -> Outcome:
        """The errors of what was kept; the absolute ones at the epoch for MAE, the squared at the one for RMSE.

        Raises:
            EvaluationError: a test rating has no score.
        """
        test, scale = self.data.target_test, self.data.target_scale if self.clipped else None
        by_mae, by_rmse = (rating_errors(best.candidate, test, scale) for best in (self.mae, self.rmse))
        mae_scores, rmse_scores = (
            best.candidate if scale is None else scale.clip(best.candidate) for best in (self.mae, self.rmse)
        )
        errors = RatingErrors(by_mae.users, by_mae.counts, by_mae.absolute, by_rmse.squared)
        return Outcome(self.mae.number, self.rmse.number, mae_scores, rmse_scores, errors)


def watch(data: PairData, choosers: dict[Recipe, Chooser], epoch: Epoch[FittedMethod]) -> None:
    """Score an epoch's method once, on validation and test users, and offer it to all."""
    method = epoch.candidate
    validation = rating_errors(method.score(data.target_validation), data.target_validation, data.target_scale)
    scores = np.asarray(method.score(data.target_test), np.float32)
    for chooser in choosers.values():
        chooser.offer(epoch.number, validation, scores)
