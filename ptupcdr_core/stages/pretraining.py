"""The stages of a pair's two base models."""

from ptupcdr_core.data.pair_data import Side, load_pair
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import Curves, OnEpoch


def pretrain(
    home: Home, pair: str, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str = ""
) -> StageReport:
    """Train one side's base model and save its checkpoint (asset ``source_model`` or ``target_model``).

    Raises:
        SettingsError: the recipe is ``published_test_best``: what serves users may not be chosen on test users.
        DeviceError: the environment asks for a GPU that is not there.
    """
    if settings.recipe == "published_test_best":
        raise SettingsError(
            "published_test_best chooses epochs on the test users, one for MAE and one for RMSE: it is for `ptupcdr "
            "benchmark` alone; the lineage serves one model, use the recipe honest or published"
        )
    data = load_pair(Warehouse.from_environment(home.warehouse), pair)
    curves = Curves(on_epoch)
    files = [
        file for mode in modes_of(settings) for file in mode.train_side(home, data, side, settings, curves, fingerprint)
    ]
    ratings, items = data.trained_on(side)
    return StageReport({"ratings": float(len(ratings)), "items": float(items), **curves.last()}, curves.values, files)
