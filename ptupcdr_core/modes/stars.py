"""What people are told about a predicted rating: "4.3 stars, 80 % to like it".

Shapes: R people, T target items, N couples of a person and an item.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Scale
from ptupcdr_core.models.ordinal import OrdinalCalibration


class Foretold(NamedTuple):
    """N predicted ratings: means and medians, in stars, and the probability that the person likes the item."""

    means: Floats
    medians: Floats
    likely: Floats


@dataclass(frozen=True)
class StarDistribution:
    """Turns predicted stars into distributions.

    Args:
        calibration: fitted on validation users; its features are how widely a person's and an item's ratings spread.
        item_spread: (T+1,) float32 of the target items.
        scale: of the target domain; a rating above its middle says that a person likes the item.
    """

    calibration: OrdinalCalibration
    item_spread: Floats
    scale: Scale

    def __call__(self, means: Floats, user_spread: Floats, items: NDArray[np.int64]) -> Foretold:
        """Predict the distributions of N ratings.

        Args:
            means: (N,) predicted stars, within the scale.
            user_spread: (N,) of the people.
            items: (N,) target item indices.
        """
        features = np.stack([user_spread, self.item_spread[items]], axis=1)
        reached = self.calibration.reached(means, features)
        liked = int(np.count_nonzero(self.calibration.levels.values <= (self.scale.low + self.scale.high) / 2))
        certain = np.concatenate([np.ones((len(means), 1)), reached, np.zeros((len(means), 1))], axis=1)
        return Foretold(means, self.calibration.medians(means, features), certain[:, liked].astype(np.float32))

    def among(self, kept: NDArray[np.bool_]) -> Self:
        """The same, restricted to the target items that the mask (T+1,) marks."""
        return replace(self, item_spread=self.item_spread[kept])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All numbers by name."""
        ends = np.array([self.scale.low, self.scale.high])
        return {"item_spread": self.item_spread, "scale": ends, **self.calibration.tensors()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Self:
        """Make what ``tensors()`` described."""
        calibration = OrdinalCalibration.from_tensors(tensors)
        return cls(calibration, tensors["item_spread"], Scale(*tensors["scale"].tolist()))
