"""What a mode serves cold-start users with, read from a home."""

from ptupcdr_core.data.pair_data import load_pair
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.modes.part import Part
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


def load_serving(home: Home, pair: str, mode: str) -> Part:
    """Read a mode's models of a pair that has been materialized: those of the home, evaluated or fitted again.

    Raises:
        SettingsError: there is no such mode.
        WarehouseError: the pair has not been split.
        ArtifactError: a model is missing, or belongs to another split.
    """
    if mode not in MODES:
        raise SettingsError(f"{pair} cannot be served in the mode {mode!r}; there are: {', '.join(MODES)}")
    data = load_pair(Warehouse.from_environment(home.warehouse), pair)
    return MODES[mode].serve(home, data.with_nobody_held_out() if home.refitted else data)


def served_mode(home: Home, pair: str) -> Mode:
    """The mode that the pair's recommendations come from: ranking where its cold-start users have such embeddings.

    Raises:
        WarehouseError: nobody has been bridged yet.
    """
    with Warehouse.from_environment(home.warehouse).read("bridged_embeddings", pair) as connection:
        found = connection.execute("select 1 from bridged_embeddings where mode = 'ranking' limit 1").fetchone()
    return "ranking" if found else "rating"
