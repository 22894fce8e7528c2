"""All modes by name."""

from ptupcdr_core.modes.base import Mode
from ptupcdr_core.modes.ranking.mode import Ranking
from ptupcdr_core.modes.rating.mode import Rating
from ptupcdr_core.settings import Mode as ModeName
from ptupcdr_core.settings import Settings

MODES: dict[ModeName, Mode] = {mode.name: mode for mode in (Rating(), Ranking())}


def modes_of(settings: Settings) -> list[Mode]:
    """The modes of a run; recommendations come from the last one."""
    return [MODES[name] for name in settings.modes]
