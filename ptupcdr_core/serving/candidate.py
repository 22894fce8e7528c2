"""The bundle of trained models: as they were evaluated, or fitted again on everybody."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from ptupcdr_core.data.pair_data import PairData, load_outline, source_item_ids, target_item_ids, target_ratings
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.modes.part import Part
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode, Origin, digest_of
from ptupcdr_core.serving.data_summary import split_summary
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import OnEpoch


def trained_bundle(
    home: Home, data: PairData, parts: Mapping[Mode, Part], settings: Settings, fingerprint: str
) -> Bundle:
    """The trained models as a bundle, to be measured and judged.

    Args:
        home: has the split.
        data: the split that the models were trained on.
        parts: what was trained, by mode.
        settings: of the training.
        fingerprint: of the stage that trained the bridges.

    Raises:
        ArtifactError: the split was replaced meanwhile.
    """
    modes: dict[Mode, BundledMode] = {}
    for mode, part in parts.items():
        served = _by_ids(home, data, part, settings, fingerprint, refitted=False)
        origin = replace(served.origin, training=digest_of(served.tensors()))
        modes[mode] = replace(served, origin=origin)
    return Bundle(data.pair, modes)


def refitted_mode(
    home: Home, data: PairData, mode: Mode, settings: Settings, evaluated: BundledMode, on_epoch: OnEpoch
) -> BundledMode:
    """An evaluated mode fitted again on the target ratings of all overlapping users, test and validation users too.

    What was chosen on held-out users stays as it is. Nobody is left to measure it on.

    Raises:
        ArtifactError: a model is missing, or belongs to another split.
        DeviceError: the environment asks for a GPU that is not there.
    """
    everybody = data.with_nobody_held_out()
    part = MODES[mode].refit(home, everybody, settings, on_epoch)
    served = _by_ids(home, everybody, part, settings, evaluated.origin.fingerprint, refitted=True)
    return replace(served, origin=replace(served.origin, training=evaluated.origin.training))


def _by_ids(
    home: Home, data: PairData, part: Part, settings: Settings, fingerprint: str, *, refitted: bool
) -> BundledMode:
    warehouse = Warehouse.from_environment(home.warehouse)
    source_ids, target_ids = (
        pa.array(ids(warehouse, data.pair), pa.string()) for ids in (source_item_ids, target_item_ids)
    )
    outline = load_outline(warehouse, data.pair)
    origin = Origin(
        settings=settings.model_dump(mode="json"),
        fingerprint=fingerprint,
        training="",
        refitted=refitted,
        bridge_users=len(data.cohorts["bridge"]),
        target_ratings=target_ratings(warehouse, data.pair, held_out=refitted),
        data=split_summary(warehouse, outline),
    )
    if outline.split != data.split:
        raise ArtifactError(
            f"{data.pair}: the split was replaced while models were trained on it; "
            f"materialize source_model, target_model and meta_network for {data.pair} again"
        )
    return BundledMode(part, source_ids, target_ids, outline.reading, origin)
