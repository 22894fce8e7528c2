"""The stage between the gate and recommendations: which bundle of a pair is deployed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from ptupcdr_core.data.pair_data import Side, load_pair
from ptupcdr_core.gate.decision import read_decision
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.candidate import refitted_mode
from ptupcdr_core.serving.deployed import CANDIDATE, CHAMPION, DEPLOYED, bundle_file
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.sources.items import Items
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import write_tables
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import OnEpoch

ASSET = "deployed_model"
NEW, KEPT, NOTHING = "new", "kept", "nothing"


def deploy(
    home: Home,
    pair: str,
    settings: Settings,
    on_epoch: OnEpoch,
    fingerprint: str = "",
    items: Mapping[Side, Items] | None = None,
) -> StageReport:
    """Deploy what the gate let through, fitted again before if ``refit`` is set (asset ``deployed_model``).

    A mode that the gate refused is served as before, and so is the whole pair if it refused all. If no model ever
    passed, nothing is deployed. ``no_gate`` deploys the new bundle whatever the gate said. The bundle also stores what
    is known of the items.

    Raises:
        WarehouseError: the pair was not split, or not judged.
        ArtifactError: the new bundle is missing or damaged.
        DeviceError: the environment asks for a GPU that is not there.
    """
    warehouse = Warehouse.from_environment(home.warehouse)
    candidate = Bundle.load(bundle_file(home, CANDIDATE, pair))
    before = _bundle(home, DEPLOYED, pair)
    wanted = candidate if settings.no_gate else (_bundle(home, CHAMPION, pair) or before)
    served: dict[Mode, BundledMode] = {}
    rows = []
    for mode, judged in (wanted.modes if wanted else {}).items():
        fresh = _same_training(candidate.modes.get(mode), judged)
        if fresh and settings.refit:
            data = load_pair(warehouse, pair, everybody=True)
            served[mode] = refitted_mode(home, data, mode, settings, judged, on_epoch)
        elif not fresh and before and _same_training(before.modes.get(mode), judged):
            served[mode] = before.modes[mode]
        else:
            served[mode] = judged
        rows.append(_row(pair, mode, NEW if fresh else KEPT, served[mode]))
    if served:
        Bundle(pair, served, items or {}).save(bundle_file(home, DEPLOYED, pair))
    rows += [_row(pair, mode, NOTHING, None) for mode in candidate.modes if mode not in served]
    decision = read_decision(home, pair)
    table = pd.DataFrame(rows).assign(gate="off" if settings.no_gate else "on", reason=decision)
    write_tables(warehouse, ASSET, pair, {ASSET: pa.Table.from_pandas(table)}, settings, fingerprint)
    metrics = {f"{name}_{row['mode']}": float(row[name]) for row in rows for name in ("bridge_users", "target_ratings")}
    return StageReport(metrics, files=[bundle_file(home, DEPLOYED, pair)] if served else [], tables={ASSET: table})


def _bundle(home: Home, kind: str, pair: str) -> Bundle | None:
    path = bundle_file(home, kind, pair)
    return Bundle.load(path) if path.is_file() else None


def _same_training(one: BundledMode | None, other: BundledMode) -> bool:
    return one is not None and one.origin.training == other.origin.training


def _row(pair: str, mode: Mode, serves: str, served: BundledMode | None) -> dict[str, Any]:
    """What serves a mode: trained now, kept from before, or nothing."""
    origin = served.origin if served else None
    return {
        "pair": pair,
        "mode": mode,
        "serves": serves,
        "recipe": str(origin.settings["recipe"]) if origin else "",
        "refitted": bool(origin and origin.refitted),
        "bridge_users": origin.bridge_users if origin else 0,
        "target_ratings": origin.target_ratings if origin else 0,
        "fingerprint": origin.fingerprint if origin else "",
    }
