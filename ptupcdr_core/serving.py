"""What each mode serves cold-start users with: the one place that knows which models a mode has.

Shapes: T target items, E coordinates of a bridged embedding.
"""

from dataclasses import dataclass

from ptupcdr_core.checkpoints import load_target_items
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.home import Home
from ptupcdr_core.models.scorer import TargetItems
from ptupcdr_core.pair_data import Floats, Scale, load_outline
from ptupcdr_core.warehouse import Warehouse


@dataclass(frozen=True)
class Serving:
    """One mode's side of recommending.

    Args:
        target: the target items' side of the score.
        scale: the stars that scores are clipped to when shown; None where scores are no stars.
    """

    target: TargetItems
    scale: Scale | None

    def shown(self, scores: Floats) -> Floats:
        """Scores as people see them."""
        return scores if self.scale is None else self.scale.clip(scores)


def load_serving(home: Home, pair: str, mode: str) -> Serving:
    """Read a mode's models of a pair that has been materialized.

    Raises:
        SettingsError: there is no such mode.
        WarehouseError: the pair has not been split.
        ArtifactError: a model is missing, or belongs to another split.
    """
    if mode != "rating":
        raise SettingsError(f"{pair} cannot be served in the mode {mode!r}; there is: rating")
    outline = load_outline(Warehouse.from_environment(home.warehouse), pair)
    return Serving(load_target_items(home, pair, outline.vocabulary), outline.target_scale)
