"""The stage of the bridges of a pair."""

from ptupcdr_core.data.pair_data import load_pair
from ptupcdr_core.kernels.memory import give_back
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.modes.checkpoints import drop_others
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.serving.candidate import trained_bundle
from ptupcdr_core.serving.deployed import CANDIDATE, bundle_file
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import Curves, OnEpoch


def train_bridges(home: Home, pair: str, settings: Settings, on_epoch: OnEpoch, fingerprint: str = "") -> StageReport:
    """Train the personal bridge and the common ones beside it (asset ``meta_network``).

    Raises:
        ArtifactError: a base model is missing or of another split, or the split was replaced meanwhile.
        DeviceError: the environment asks for a GPU that is not there.
    """
    data, curves, report = load_pair(Warehouse.from_environment(home.warehouse), pair), Curves(on_epoch), StageReport()
    report.metrics.update(data.people_read())
    parts = {}
    for mode in modes_of(settings, data):
        with one_thread():
            trained = mode.train(home, data, settings, curves, fingerprint)
        parts[mode.name] = trained.part
        report.metrics.update(trained.metrics)
        report.chosen.update(trained.chosen)
        report.files.extend(trained.files)
        report.tables.update(trained.shown)
        give_back()
    drop_others(home, "meta_network", pair, list(parts))
    bundle = bundle_file(home, CANDIDATE, pair)
    trained_bundle(home, data, parts, settings, fingerprint).save(bundle)
    report.files.append(bundle)
    report.curves.update(curves.values)
    return report
