"""The stages of the two base models of a pair."""

from ptupcdr_core.data.pair_data import PairData, Side, load_pair
from ptupcdr_core.engines.device import training_device
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.modes.checkpoints import save_model
from ptupcdr_core.modes.ranking.checkpoints import save_side
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import Curves, OnEpoch
from ptupcdr_core.training.implicit import train_side
from ptupcdr_core.training.pretraining import train_base_model


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
    return pretrain_on(
        home, load_pair(Warehouse.from_environment(home.warehouse), pair), side, settings, on_epoch, fingerprint
    )


def pretrain_on(
    home: Home, data: PairData, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str
) -> StageReport:
    """Train one side's base model on its training ratings in the data, and save its checkpoint."""
    device = training_device()
    ratings, items, batch_size = {
        "source": (data.source, data.source_item_count, settings.source_batch_size),
        "target": (data.target_train, data.target_item_count, settings.target_batch_size),
    }[side]
    curves = Curves(on_epoch)
    model = train_base_model(
        ratings,
        data.user_count,
        items,
        settings,
        batch_size=batch_size,
        stream=("source", "target").index(side),
        on_epoch=curves,
        device=device,
    )
    files = save_model(home, f"{side}_model", data, model.tensors(), settings, fingerprint, curves.entries())
    if settings.ranks:
        factors = train_side(data, side, settings, curves, device)
        files += save_side(home, side, data, factors, settings, fingerprint)
    metrics = {"ratings": float(len(ratings)), "items": float(items), **curves.last()}
    return StageReport(metrics, curves.values, files)
