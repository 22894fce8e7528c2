"""What two models are compared by, in each mode."""

from ptupcdr_core.modes.criterion import Criterion
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.settings import Mode

CRITERIA: dict[Mode, Criterion] = {mode.name: mode.criterion for mode in MODES.values()}
