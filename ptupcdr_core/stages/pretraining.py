"""The stages of the two base models of a pair."""

from ptupcdr_core.data.pair_data import Side, load_pair
from ptupcdr_core.engines.device import training_device
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.modes.checkpoints import save_model
from ptupcdr_core.modes.ranking.checkpoints import save_side
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import Curves, OnEpoch
from ptupcdr_core.training.implicit import train_side as train_ranking_side
from ptupcdr_core.training.pretraining import train_side


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
    device, data = training_device(), load_pair(Warehouse.from_environment(home.warehouse), pair)
    curves = Curves(on_epoch)
    model = train_side(data, side, settings, curves, device)
    files = save_model(home, f"{side}_model", data, model.tensors(), settings, fingerprint, curves.entries())
    if settings.ranks:
        factors = train_ranking_side(data, side, settings, curves, device)
        files += save_side(home, side, data, factors, settings, fingerprint)
    sizes = {"source": (data.source, data.source_item_count), "target": (data.target_train, data.target_item_count)}
    ratings, items = sizes[side]
    return StageReport({"ratings": float(len(ratings)), "items": float(items), **curves.last()}, curves.values, files)
