"""All modes by name, and which of them a run on a pair has."""

from ptupcdr_core.data.pair_data import Outline, PairData
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.modes.base import Mode
from ptupcdr_core.modes.ranking.mode import Ranking
from ptupcdr_core.modes.rating.mode import Rating
from ptupcdr_core.settings import Mode as ModeName
from ptupcdr_core.settings import Settings

MODES: dict[ModeName, Mode] = {mode.name: mode for mode in (Rating(), Ranking())}


def modes_of(settings: Settings, pair: PairData | Outline) -> list[Mode]:
    """The modes of a run on a pair: those of its settings, without those that need stars if it has none.
    Recommendations come from the last one.

    Raises:
        SettingsError: none is left.
    """
    found = [MODES[name] for name in settings.modes if pair.rated or not MODES[name].needs_stars]
    if not found:
        raise SettingsError(
            f"{pair.pair}: one of its domains has events without stars, so there are no ratings to predict; ranked "
            "lists are made with the recipe calibrated and the mode both or ranking"
        )
    return found
