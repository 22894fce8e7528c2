"""The stages of a pair's two base models."""

from functools import partial
from pathlib import Path

from ptupcdr_core.data.pair_data import Side, load_pair
from ptupcdr_core.engines.choice import choose_engine
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.modes.checkpoints import drop_others
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.modes.shared_source import SharedSource
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import Curves, OnEpoch


def pretrain(
    home: Home, pair: str, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str = ""
) -> StageReport:
    """Train one side's base model and save its checkpoint (asset ``source_model`` or ``target_model``); a source model
    that was trained for another pair before is taken (see ``modes.shared_source``).

    Raises:
        SettingsError: the recipe is ``published_test_best``: what serves users may not be chosen on test users. Or the
            settings have no mode for a pair without stars.
        DeviceError: the environment asks for a GPU that is not there.
    """
    if settings.recipe == "published_test_best":
        raise SettingsError(
            "published_test_best chooses epochs on the test users, one for MAE and one for RMSE: it is for `ptupcdr "
            "benchmark` alone; the lineage serves one model, use the recipe honest or published"
        )
    choose_engine()  # a missing GPU is named even where a shared model leaves nothing to train
    data = load_pair(Warehouse.from_environment(home.warehouse), pair, everybody=True)
    curves, modes = Curves(on_epoch), modes_of(settings, data)
    files: list[Path] = []
    notes: dict[str, str] = {}
    for mode in modes:
        train = partial(mode.train_side, home, data, side, settings, curves, fingerprint)
        if side == "source" and settings.recipe == "calibrated":
            train = partial(SharedSource(home, data, mode, settings, fingerprint).made, train, curves, notes)
        with one_thread():
            files += train()
    drop_others(home, f"{side}_model", pair, [mode.name for mode in modes])
    ratings, items = data.trained_on(side)
    scale = data.source_scale if side == "source" else data.target_scale
    sizes = {"ratings" if scale else "events": float(len(ratings)), "items": float(items)}
    return StageReport(sizes | curves.last(), curves.values, files, notes=notes)
