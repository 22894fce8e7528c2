"""Which epochs of a training a recipe keeps; several recipes choose while a method is trained once."""

from dataclasses import dataclass

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.evaluation.calibration import Calibrator
from ptupcdr_core.models.fitted_method import FittedMethod
from ptupcdr_core.models.rating_errors import RatingErrors, errors_of_both, rating_errors
from ptupcdr_core.settings import Recipe, Settings
from ptupcdr_core.training.epochs import BestEpoch, Epoch


@dataclass(frozen=True)
class Outcome:
    """A method's errors on the test users under one recipe.

    Args:
        mae_epoch: the epoch that the absolute errors are of.
        rmse_epoch: the epoch that the squared errors are of; it differs only under ``published_test_best``.
        mae_scores: (N,) what absolute errors are of: predicted stars of every test rating at ``mae_epoch``, or medians
            if the recipe clips.
        rmse_scores: (N,) what squared errors are of: predicted stars at ``rmse_epoch``, clipped if the recipe clips.
        errors: by user.
        mae_of_mean: absolute errors of the predicted stars themselves.
        log_loss: mean over the test ratings; NaN unless the recipe clips.
    """

    mae_epoch: int
    rmse_epoch: int
    mae_scores: Floats
    rmse_scores: Floats
    errors: RatingErrors
    mae_of_mean: float
    log_loss: float


class Chooser:
    """Keeps the epochs of a training that a recipe chooses.

    Args:
        data: the pair's split.
        settings: ``recipe`` decides between validation and test users, and about clipping.
    """

    def __init__(self, data: PairData, settings: Settings) -> None:
        """Start without an epoch."""
        self.data, self.clipped = data, settings.clipped
        self.on_test = settings.recipe == "published_test_best"
        self.mae: BestEpoch[Floats] = BestEpoch()
        self.rmse: BestEpoch[tuple[Floats, Floats]] = BestEpoch()

    def offer(self, number: int, validation: RatingErrors, validation_scores: Floats, scores: Floats) -> None:
        """Consider an epoch.

        Args:
            number: of the epoch.
            validation: the errors on the validation users, clipped.
            validation_scores: predicted stars of every validation rating, not clipped.
            scores: (N,) the same of every test rating.
        """
        both = validation_scores, scores
        if self.on_test:
            test = rating_errors(scores, self.data.target_test, None)
            self.mae.offer(number, test.mae, scores)
            self.rmse.offer(number, test.rmse, both)
        else:
            self.mae.offer(number, validation.rmse, scores)
            self.rmse.offer(number, validation.rmse, both)

    def outcome(self) -> Outcome:
        """The errors at the kept epochs: absolute ones at the epoch for MAE, squared ones at the one for RMSE.

        Where the recipe clips, both are at the epoch for RMSE, and the absolute ones are of the medians.

        Raises:
            EvaluationError: a test rating has no score.
        """
        test, (validation_scores, scores) = self.data.target_test, self.rmse.candidate
        rating_errors(scores, test, None)  # refuses missing ones
        if not self.clipped:
            of_mean, log_loss = self.mae.candidate, float("nan")
            medians, means = of_mean, scores
        else:
            said = Calibrator.of(self.data).distributions(validation_scores, scores, test)
            medians, means, of_mean = said.medians, said.means, said.means
            log_loss = float(said.log_loss.mean(dtype=np.float64))
        errors = errors_of_both(means, medians, test)
        mae_of_mean = rating_errors(of_mean, test, None).mae
        return Outcome(self.mae.number, self.rmse.number, medians, means, errors, mae_of_mean, log_loss)


def watch(data: PairData, choosers: dict[Recipe, Chooser], epoch: Epoch[FittedMethod]) -> None:
    """Score an epoch's method once, on validation and test users, and offer it to all."""
    method = epoch.candidate
    validation_scores = np.asarray(method.score(data.target_validation), np.float32)
    validation = rating_errors(validation_scores, data.target_validation, data.scale)
    scores = np.asarray(method.score(data.target_test), np.float32)
    for chooser in choosers.values():
        chooser.offer(epoch.number, validation, validation_scores, scores)
